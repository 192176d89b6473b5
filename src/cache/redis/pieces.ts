/** The maximum number of keys and bytes in one command or script: Redis serves no other client while it runs one. */
export const MAX_KEYS_A_COMMAND = 200;
export const MAX_BYTES_A_COMMAND = 256 * 1024;
/** The maximum size of a stored value, in bytes. Larger values are returned to readers, but not stored. */
export const MAX_VALUE_BYTES = 1024 * 1024;

/** The cost of a command to Redis: its keys or its thousands of bytes, whichever is more. */
export const costOf = (keys: number, bytes = 0): number => Math.max(1, keys, Math.ceil(bytes / 1_000));

/** Cuts a list into pieces, in order. No piece weighs more than `max`, unless it is a single item. */
export function cut<Item>(items: readonly Item[], weigh: (item: Item) => number, max: number): Item[][] {
  const pieces: Item[][] = [];
  let weight = 0;
  for (const item of items) {
    const its = weigh(item);
    const piece = pieces.at(-1);
    if (piece && weight + its <= max) {
      piece.push(item);
      weight += its;
    } else {
      pieces.push([item]);
      weight = its;
    }
  }
  return pieces;
}

/** Cuts a list into pieces for one command each, by the keys and bytes of its items. */
export const cutForCommands = <Item>(
  items: readonly Item[],
  keysOf: (item: Item) => number,
  bytesOf: (item: Item) => number = () => 0,
): Item[][] =>
  cut(items, (item) => Math.max(keysOf(item) / MAX_KEYS_A_COMMAND, bytesOf(item) / MAX_BYTES_A_COMMAND), 1);
