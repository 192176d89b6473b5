import { setTimeout as pause } from 'node:timers/promises';

import type { Snapshotted } from '../cache/core/resource.js';
import { EVERYTHING, type Tag } from '../cache/core/tags.js';
import type { Helping } from '../cache/invalidation/helping.js';
import { MAX_BLINDNESS_MS, type Freshness } from '../cache/invalidation/invalidation-log.js';
import type { Invalidator } from '../cache/invalidation/invalidator.js';
import type { BotKey } from './invalidation.service.js';
import type { InvalidationLogRepository } from './invalidation-log.repository.js';
import type { InvalidationTargets } from './invalidation-targets.input.js';
import { tagsOfBot, tagsOfOrganization } from './tags.js';

/**
 * Invalidates what an operator names, on all processes: once it has ended, no process serves a value that was cached
 * before.
 */
export class OperatorInvalidation {
  constructor(
    private readonly parts: {
      readonly log: InvalidationLogRepository;
      readonly bots: {
        findMany(ids: readonly string[]): Promise<readonly Snapshotted<BotKey>[]>;
      };
      readonly invalidator: Pick<Invalidator, 'invalidate' | 'hasPending'>;
      readonly helping: Pick<Helping, 'confirm'>;
      readonly freshness: Pick<Freshness, 'isCurrent'>;
    },
  ) {}

  /**
   * Returns the tags that were invalidated; {@link EVERYTHING} stands for all. If Redis or the log cannot be used, it
   * takes 2 s: until then every process has read the log, or uses no cached value.
   * @throws ApiError UNAVAILABLE if PostgreSQL is away; nothing may have been invalidated then
   */
  async invalidate(targets: InvalidationTargets): Promise<readonly Tag[]> {
    const { log, invalidator, helping, freshness } = this.parts;
    const tags = targets.everything ? [EVERYTHING] : await this.tagsOf(targets);
    await log.add(tags);
    // The log tells the processes. Redis is told by the removal of values, and of everything by helping the entry.
    await Promise.all([invalidator.invalidate(tags), helping.confirm()]);
    if (invalidator.hasPending || !freshness.isCurrent) await pause(MAX_BLINDNESS_MS);
    return tags;
  }

  /** A bot is also in the lists and totals of its organization. */
  private async tagsOf({ tags = [], bots = [], organizations = [] }: InvalidationTargets): Promise<Tag[]> {
    const found = bots.length === 0 ? [] : await this.parts.bots.findMany(bots);
    const orgIds = [...organizations, ...found.flatMap(({ value }) => value?.orgId ?? [])];
    return [...new Set([...tags, ...bots.flatMap(tagsOfBot), ...orgIds.flatMap(tagsOfOrganization)])];
  }
}
