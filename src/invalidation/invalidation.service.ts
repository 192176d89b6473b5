import type { Helping } from '../cache/invalidation/helping.js';
import type { Invalidator } from '../cache/invalidation/invalidator.js';
import type { CachedResource, Snapshotted } from '../cache/core/resource.js';
import type { MomentText } from '../cache/core/moment.js';
import type { SnapshotText } from '../cache/core/snapshot.js';
import { currentWork, within } from '../cache/core/work.js';
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
    private readonly helping: Pick<Helping, 'since' | 'helpShown' | 'confirm'>,
  ) {}

  /**
   * A bot was created, changed, started, stopped or deleted. Outdates its values, and its organization's lists and
   * statistics.
   * @param moment that of the changed bot, if the caller shows it: it may contain writes that others have not
   * invalidated yet
   */
  async botChanged(bot: BotKey, moment?: MomentText): Promise<void> {
    const tags = [botTag.of(bot.id), botStatsTag.of(bot.id), orgTag.of(bot.orgId)];
    await Promise.all([
      this.invalidator.invalidate(tags),
      moment === undefined ? undefined : this.helping.helpShown(moment),
    ]);
  }

  /** The argument of `cache_moment`, for a statement that is sent now. */
  get since(): SnapshotText {
    return this.helping.since;
  }

  /**
   * Messages of a bot were recorded or changed. Outdates the bot's statistics and details, and its organization's
   * statistics. Cached statistics of the bot are replaced by the newer ones, so that a busy bot's need not be loaded
   * again after each message.
   * @param read reads the newer statistics, as a load does. @throws its errors
   */
  async botStatsChanged(
    bot: BotKey,
    read: (since: SnapshotText) => Promise<readonly Snapshotted<Stats>[]>,
  ): Promise<Snapshotted<Stats> | undefined> {
    const others = [orgStatsTag.of(bot.orgId)];
    const work = currentWork();
    try {
      const [newer] = await read(this.helping.since);
      const value = newer ?? { value: null, snapshot: '' };
      await within(work, () => this.botStats.replace(bot.id, value, others));
      return newer;
    } catch (error) {
      await within(work, () => this.invalidator.invalidate([botStatsTag.of(bot.id), ...others]));
      throw error;
    }
  }

  /**
   * Call this before an answer shows state that was read from PostgreSQL without the cache. The writer of that state
   * may not have invalidated it yet, or cannot (psql), and no read after this answer may return older state.
   */
  async reveal(): Promise<void> {
    await this.helping.confirm();
  }

  /** A write of these tags lost its connection, and may have been committed. */
  async mayHaveChanged(tags: readonly Tag[]): Promise<void> {
    await Promise.all([this.invalidator.invalidate(tags), this.helping.confirm()]);
  }
}
