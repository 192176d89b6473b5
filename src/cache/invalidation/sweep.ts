import { snapshotOfHead } from '../core/envelope.js';
import type { LogBatch } from './invalidation-log.js';
import type { Invalidator } from './invalidator.js';
import type { CacheStore } from '../redis/cache-store.js';
import { isVisible } from '../core/snapshot.js';
import { EVERYTHING, type Tag } from '../core/tags.js';

/** The maximum number of tags and keys in one sweep; the log alone covers the rest. */
const MAX_TAGS = 5_000;
const MAX_KEYS = 20_000;
/** How many tags are checked together. */
const TAGS_AT_ONCE = 200;

/** Repeats lost invalidations: those of logged writes that values in Redis have not seen. */
export async function sweep(
  batches: readonly LogBatch[],
  store: Pick<CacheStore, 'readHeads' | 'readIndexes'>,
  invalidator: Invalidator,
): Promise<void> {
  const writes = writesOf(batches);
  const tags = [...writes.keys()];
  let keysLeft = MAX_KEYS;
  for (let start = 0; start < tags.length; start += TAGS_AT_ONCE) {
    if (keysLeft <= 0) return;
    const some = tags.slice(start, start + TAGS_AT_ONCE);
    const targets = some.map((tag) => invalidator.targetsOf(tag));
    const listed = await store.readIndexes(targets.flatMap(({ indexes }) => indexes));
    let index = 0;
    const keys = targets.map(({ values, indexes }) => {
      const pages = listed.slice(index, (index += indexes.length)).flat();
      const its = [...values, ...pages].slice(0, Math.max(0, keysLeft));
      keysLeft -= its.length;
      return its;
    });
    const heads = await store.readHeads(keys.flat());
    let position = 0;
    const outdated = some.filter((tag, i) => {
      const mine = heads.slice(position, (position += keys[i]?.length ?? 0));
      return mine.some((head) => head !== null && lacks(head, writes.get(tag) ?? []));
    });
    if (outdated.length > 0) await invalidator.repeat(outdated);
  }
}

/** The transactions that changed each tag. */
function writesOf(batches: readonly LogBatch[]): Map<Tag, number[]> {
  const writes = new Map<Tag, number[]>();
  for (const { entries } of batches) {
    for (const { xid, tags } of entries) {
      for (const tag of tags) {
        if (tag === EVERYTHING || (writes.size >= MAX_TAGS && !writes.has(tag))) continue;
        const xids = writes.get(tag);
        if (xids) xids.push(xid);
        else writes.set(tag, [xid]);
      }
    }
  }
  return writes;
}

/** Whether a stored value has not seen one of these transactions, or has no readable snapshot. */
function lacks(head: string, xids: readonly number[]): boolean {
  const snapshot = snapshotOfHead(head);
  return snapshot === undefined || xids.some((xid) => !isVisible(xid, snapshot));
}
