/**
 * The text form of a PostgreSQL `pg_snapshot`, `xmin:xmax:xip,xip,…`, followed by `@` and the epoch of its database.
 * Transaction ids of different epochs cannot be compared.
 */
export type SnapshotText = string;

/** The epoch of a snapshot, with its `@`; empty if the snapshot has none. */
export function epochOf(snapshot: SnapshotText): string {
  const at = snapshot.indexOf('@');
  return at < 0 ? '' : snapshot.slice(at);
}

/** A snapshot without its epoch, as PostgreSQL writes and reads it. */
export function withoutEpoch(snapshot: SnapshotText): string {
  const at = snapshot.indexOf('@');
  return at < 0 ? snapshot : snapshot.slice(0, at);
}

/**
 * Whether a committed transaction is visible in a snapshot, by the rule of `pg_visible_in_snapshot`: yes below
 * `xmin`; no from `xmax` on; between them, yes unless it was still running (listed in `xip`). Transaction ids are
 * 64-bit and never wrap; as numbers they are exact up to 2^53.
 */
export function isVisible(xid: number, snapshot: SnapshotText): boolean {
  const first = snapshot.indexOf(':');
  const second = snapshot.indexOf(':', first + 1);
  if (first < 0 || second < 0) return false;
  if (xid < Number(snapshot.slice(0, first))) return true;
  if (xid >= Number(snapshot.slice(first + 1, second))) return false;
  return !`,${withoutEpoch(snapshot.slice(second + 1))},`.includes(`,${xid},`);
}

/** The oldest transaction that was running when a snapshot was taken, or else its `xmax`. */
export const xminOf = (snapshot: SnapshotText): number => Number(snapshot.slice(0, snapshot.indexOf(':')));

/** The first transaction id that was unused when a snapshot was taken: the snapshot sees no transaction from it on. */
export function xmaxOf(snapshot: SnapshotText): number {
  const first = snapshot.indexOf(':');
  return Number(snapshot.slice(first + 1, snapshot.indexOf(':', first + 1)));
}

/** The transactions that were running when a snapshot was taken. */
function runningIn(snapshot: SnapshotText): number[] {
  const list = withoutEpoch(snapshot.slice(snapshot.lastIndexOf(':') + 1));
  return list === '' ? [] : list.split(',').map(Number);
}

/**
 * Whether a snapshot has seen every transaction up to `xid` that had committed by the time of a later snapshot,
 * `now`. It has if the transactions that it lists as running are still running in `now`.
 */
export function hasSeenAllUpTo(xid: number, snapshot: SnapshotText, now: SnapshotText | undefined): boolean {
  const first = snapshot.indexOf(':');
  if (xid < Number(snapshot.slice(0, first))) return true;
  if (xid >= Number(snapshot.slice(first + 1, snapshot.indexOf(':', first + 1)))) return false;
  const stillRunning = now === undefined ? [] : runningIn(now);
  return runningIn(snapshot).every((running) => running > xid || stillRunning.includes(running));
}

/**
 * Whether a snapshot was taken later than another of the same epoch, and has seen more. `xmax` only grows, and while it
 * stays, running transactions only end: so the snapshots of a primary have one order.
 */
export function isLater(snapshot: SnapshotText, than: SnapshotText): boolean {
  if (snapshot === than) return false;
  const [xmax, thanXmax] = [xmaxOf(snapshot), xmaxOf(than)];
  return xmax === thanXmax ? runningIn(snapshot).length < runningIn(than).length : xmax > thanXmax;
}
