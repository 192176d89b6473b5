import { isVisible, xminOf, type SnapshotText } from './snapshot.js';

/**
 * The generation of a tag in Redis: a random token, followed by a colon and the ids of the transactions that were
 * found in the invalidation log since the token was made: `kP0v…` or `kP0v…:796,801`. Of several tags, the
 * generations are joined by dots.
 *
 * Removing a generation outdates all values of its tag. Adding a transaction outdates those that have not seen it.
 */
export type GenerationText = string;

/**
 * Whether a value is still of the current generations: they have the tokens that the value was loaded under, and the
 * value's snapshot has seen their transactions.
 * @param loadedUnder the generations just before the load
 */
export function isOfGenerations(
  loadedUnder: GenerationText,
  current: GenerationText,
  snapshot: SnapshotText,
): boolean {
  if (loadedUnder === current) return true;
  const before = loadedUnder.split('.');
  const now = current.split('.');
  return (
    before.length === now.length &&
    now.every((generation, i) => isOfGeneration(before[i] ?? '', generation, snapshot))
  );
}

function isOfGeneration(loadedUnder: string, current: string, snapshot: SnapshotText): boolean {
  if (loadedUnder === current) return true;
  const [token = '', xids] = current.split(':');
  return token === loadedUnder.split(':')[0] && (xids === undefined || hasSeenEach(xids, snapshot));
}

/**
 * Whether a snapshot has seen transactions: their ids, joined by commas; `<796` stands for all transactions up to that
 * one. Empty if there is none.
 */
export function hasSeenEach(xids: string, snapshot: SnapshotText): boolean {
  if (xids === '') return true;
  return xids
    .split(',')
    .every((xid) =>
      xid.startsWith('<') ? xminOf(snapshot) > Number(xid.slice(1)) : isVisible(Number(xid), snapshot),
    );
}
