import type { RecentWrites } from '../cache/invalidation/invalidation-log.js';
import type { Invalidator } from '../cache/invalidation/invalidator.js';
import type { CachedResource, Snapshotted } from '../cache/core/resource.js';
import type { Tag } from '../cache/core/tags.js';
import { botStatsTag, botTag, orgStatsTag, orgTag } from './tags.js';

/** Which bot, and where it is: what a change of it outdates. */
export interface BotKey {
  readonly id: string;
  readonly orgId: string;
}

/**
 * Which change outdates what: the table of the cache contract. Services call it after their transaction has committed
 * and before they answer. The triggers of the invalidation log say the same to processes that were not told.
 */
export class InvalidationService<Stats> {
  constructor(
    private readonly invalidator: Invalidator,
    private readonly botStats: CachedResource<string, Stats>,
    private readonly recentWrites: RecentWrites,
  ) {}

  /** A bot was created, changed, started, stopped or deleted: its own values, and its organization's lists and statistics. */
  async botChanged(bot: BotKey): Promise<void> {
    await this.invalidator.invalidate([botTag.of(bot.id), botStatsTag.of(bot.id), orgTag.of(bot.orgId)]);
  }

  /**
   * Messages of a bot were recorded or changed: its statistics and details, and its organization's statistics. Those of
   * the bot that were cached are replaced by the ones read since, so that a busy bot's need not be loaded again after
   * each message.
   * @param read reads them; begun after the transaction has committed. @throws what it throws
   */
  async botStatsChanged(
    bot: BotKey,
    read: Promise<readonly Snapshotted<Stats>[]>,
  ): Promise<Snapshotted<Stats> | undefined> {
    const others = [orgStatsTag.of(bot.orgId)];
    try {
      const [newer] = await read;
      await this.botStats.replace(bot.id, newer ?? { value: null, snapshot: '' }, others);
      return newer;
    } catch (error) {
      await this.invalidator.invalidate([botStatsTag.of(bot.id), ...others]);
      throw error;
    }
  }

  /**
   * An answer is about to tell of what was just read from PostgreSQL, beside the cache. Whoever wrote it may not have
   * invalidated yet, or cannot (psql), and nobody may be shown an older state after this answer: so the recent writes of
   * these tags are invalidated here, with all that they touched.
   */
  async reveal(tags: readonly Tag[]): Promise<void> {
    const touched = (await this.recentWrites.touching(tags)) ?? tags;
    if (touched.length > 0) await this.invalidator.invalidate(touched);
  }

  /** Nobody knows whether a write of these tags was committed, because its connection was lost: it may have been. */
  async mayHaveChanged(tags: readonly Tag[]): Promise<void> {
    const touched = (await this.recentWrites.touching(tags)) ?? [];
    await this.invalidator.invalidate([...new Set([...tags, ...touched])]);
  }
}
