import type { SnapshotText } from './snapshot.js';
import type { Tag } from './tags.js';

/** One committed transaction's entry in the invalidation log. */
export interface LogEntry {
  readonly xid: number;
  readonly tags: readonly Tag[];
}

/**
 * What a load learns beside its rows: the result of the SQL function `cache_moment(since)`. The text is the snapshot
 * of the load, optionally followed by a blank and the log entries that it has seen and `since` has not, as JSON.
 */
export type MomentText = string;

export interface Moment {
  readonly snapshot: SnapshotText;
  /** The entries since the asked snapshot; undefined if the log must be read for them. */
  readonly entries: readonly LogEntry[] | undefined;
}

export function parseMoment(text: MomentText): Moment {
  const blank = text.indexOf(' ');
  if (blank < 0) return { snapshot: text, entries: undefined };
  const snapshot = text.slice(0, blank);
  if (text.startsWith('*', blank + 1)) return { snapshot, entries: undefined };
  const entries = JSON.parse(text.slice(blank + 1)) as [number, Tag[]][];
  return { snapshot, entries: entries.map(([xid, tags]) => ({ xid, tags })) };
}
