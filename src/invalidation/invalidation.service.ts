import type { Invalidator } from '../cache/invalidator.js';
import type { Tag } from '../cache/tags.js';
import { botStatsTag, botTag, orgTag } from './tags.js';

/**
 * Which change outdates what: the table of the cache contract. Services call it after their transaction has committed
 * and before they answer. The triggers of the invalidation log say the same to processes that were not told.
 */
export class InvalidationService {
  constructor(private readonly invalidator: Invalidator) {}

  /** A bot was created, changed, started, stopped or deleted: its own values and its organization's lists. */
  async botChanged(bot: { id: string; orgId: string }): Promise<void> {
    await this.invalidate([botTag.of(bot.id), botStatsTag.of(bot.id), orgTag.of(bot.orgId)]);
  }

  /** Messages of a bot were recorded or changed: its statistics and details. */
  async botStatsChanged(botId: string): Promise<void> {
    await this.invalidate([botStatsTag.of(botId)]);
  }

  private async invalidate(tags: readonly Tag[]): Promise<void> {
    await this.invalidator.invalidate(tags);
  }
}
