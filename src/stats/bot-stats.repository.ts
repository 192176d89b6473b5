import { eq } from 'drizzle-orm';

import { botColumns, toBot } from '../bots/bot-row.js';
import type { Snapshotted } from '../cache/core/resource.js';
import type { SnapshotText } from '../cache/core/snapshot.js';
import { moment } from '../db/cache-moment.js';
import type { Database } from '../db/client.js';
import { bots, botStats } from '../db/tables.js';
import { wantedId, wantedIds, wantedPosition } from '../db/wanted-ids.js';
import { countsOf, noMessages, type BotDetails, type BotStats } from './bot-stats.type.js';

type TotalsRow = Omit<typeof botStats.$inferSelect, 'orgId'>;

const totalsColumns = {
  botId: botStats.botId,
  inbound: botStats.inbound,
  outbound: botStats.outbound,
  failed: botStats.failed,
  outboundDelivered: botStats.outboundDelivered,
  outboundFailed: botStats.outboundFailed,
  conversations: botStats.conversations,
  responseTimeSum: botStats.responseTimeSum,
  responseTimeCount: botStats.responseTimeCount,
  lastMessageAt: botStats.lastMessageAt,
  revision: botStats.revision,
};

const ratio = (part: number, whole: number): number | null => (whole === 0 ? null : part / whole);

const toBotStats = (totals: TotalsRow, computedAt: string): BotStats => ({
  botId: totals.botId,
  ...countsOf({
    totalMessages: totals.inbound + totals.outbound,
    inboundMessages: totals.inbound,
    outboundMessages: totals.outbound,
    failedMessages: totals.failed,
    totalConversations: totals.conversations,
  }),
  averageResponseTimeMs: ratio(totals.responseTimeSum, totals.responseTimeCount),
  successRate: ratio(totals.outboundDelivered, totals.outboundDelivered + totals.outboundFailed),
  lastMessageAt: totals.lastMessageAt,
  computedAt,
});

/** Reads statistics from the running totals: one index look-up for each bot, however many messages it has. */
export class BotStatsRepository {
  private readonly statsByIds;
  private readonly detailsByIds;

  constructor(db: Database) {
    this.statsByIds = db
      .select({ snapshot: moment, totals: totalsColumns })
      .from(wantedIds)
      .leftJoin(botStats, eq(botStats.botId, wantedId))
      .orderBy(wantedPosition)
      .prepare('bot_stats_by_ids');
    this.detailsByIds = db
      .select({ snapshot: moment, bot: botColumns, totals: totalsColumns })
      .from(wantedIds)
      .leftJoin(bots, eq(bots.id, wantedId))
      .leftJoin(botStats, eq(botStats.botId, bots.id))
      .orderBy(wantedPosition)
      .prepare('bot_details_by_ids');
  }

  /**
   * Statistics aligned with the bots' ids, null where there is no such bot, in one statement; in two if totals are
   * missing. The version grows with every change of the totals.
   */
  async findMany(ids: readonly string[], since: SnapshotText): Promise<Snapshotted<BotStats>[]> {
    const computedAt = new Date().toISOString();
    const rows = await this.statsByIds.execute({ ids, since });
    const found: Snapshotted<BotStats>[] = rows.map(({ snapshot, totals }) => ({
      snapshot,
      value: totals && toBotStats(totals, computedAt),
      version: (totals?.revision ?? 0) + 1,
    }));
    const without = found.flatMap(({ value }, i) => (value ? [] : [i]));
    if (without.length === 0) return found;
    // Distinguishes a bot without totals from a bot that no longer exists.
    const details = await this.findDetails(
      without.map((i) => ids[i] ?? ''),
      since,
    );
    details.forEach(({ snapshot, value }, position) => {
      const i = without[position] ?? 0;
      found[i] = { snapshot, value: value?.stats ?? null };
    });
    return found;
  }

  /** Bots with their statistics, aligned with the ids, in one statement. */
  async findDetails(ids: readonly string[], since: SnapshotText): Promise<Snapshotted<BotDetails>[]> {
    const computedAt = new Date().toISOString();
    const rows = await this.detailsByIds.execute({ ids, since });
    return rows.map(({ snapshot, bot, totals }) => ({
      snapshot,
      value: bot && {
        bot: toBot(bot),
        stats: totals ? toBotStats(totals, computedAt) : noMessages(bot.id),
      },
    }));
  }
}
