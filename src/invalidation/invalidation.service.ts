import type { RecentWrites } from '../cache/invalidation/invalidation-log.js';
import type { Invalidator } from '../cache/invalidation/invalidator.js';
import type { CachedResource, Snapshotted } from '../cache/core/resource.js';
import type { Tag } from '../cache/core/tags.js';
import { botStatsTag, botTag, orgStatsTag, orgTag } from './tags.js';

/** A bot and its organization: the keys of everything that a change of the bot outdates. */
export interface BotKey {
  readonly id: string;
  readonly orgId: string;
}

/**
 * Maps each change to the tags that it outdates: the table of the cache contract. Services call it after their
 * transaction has committed and before the caller gets the result. The triggers of the invalidation log report the
 * same tags to other processes.
 */
export class InvalidationService<Stats> {
  constructor(
    private readonly invalidator: Invalidator,
    private readonly botStats: CachedResource<string, Stats>,
    private readonly recentWrites: RecentWrites,
  ) {}

  /**
   * A bot was created, changed, started, stopped or deleted. Outdates its values, and its organization's lists and
   * statistics.
   */
  async botChanged(bot: BotKey): Promise<void> {
    await this.invalidator.invalidate([botTag.of(bot.id), botStatsTag.of(bot.id), orgTag.of(bot.orgId)]);
  }

  /**
   * Messages of a bot were recorded or changed. Outdates the bot's statistics and details, and its organization's
   * statistics. Cached statistics of the bot are replaced by the newer ones, so that a busy bot's need not be loaded
   * again after each message.
   * @param read returns the newer statistics; it must have begun after the transaction committed. @throws its errors
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
   * Call this before an answer shows state that was read from PostgreSQL without the cache. The writer of that state
   * may not have invalidated it yet, or cannot (psql), and no read after this answer may return older state. So this
   * invalidates the recent writes of these tags, with all tags that they touched.
   */
  async reveal(tags: readonly Tag[]): Promise<void> {
    const touched = (await this.recentWrites.touching(tags)) ?? tags;
    if (touched.length > 0) await this.invalidator.invalidate(touched);
  }

  /** A write of these tags lost its connection, and may have been committed. */
  async mayHaveChanged(tags: readonly Tag[]): Promise<void> {
    const touched = (await this.recentWrites.touching(tags)) ?? [];
    await this.invalidator.invalidate([...new Set([...tags, ...touched])]);
  }
}
