/** The most keys and bytes of one command or script: Redis serves nobody else while it runs one. */
export const MAX_KEYS_A_COMMAND = 200;
export const MAX_BYTES_A_COMMAND = 256 * 1024;
/** A value that is larger than this is answered, but not stored (bytes). */
export const MAX_VALUE_BYTES = 1024 * 1024;

/** What a command costs Redis, in thousands of bytes or in keys, whichever is more. */
export const costOf = (keys: number, bytes = 0): number => Math.max(1, keys, Math.ceil(bytes / 1_000));

/** Cuts a list into pieces, in order, none of which weighs more than `max`, except where a single item does. */
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
