/**
 * A number from 0 to 1 (exclusive) that a key decides, spread evenly over keys. It is the hash FNV-1a with 32 bits
 * (http://www.isthe.com/chongo/tech/comp/fnv/), mixed as MurmurHash3 does at its end, because keys that differ only in
 * their last characters would be near to each other otherwise.
 */
export function jitterOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
