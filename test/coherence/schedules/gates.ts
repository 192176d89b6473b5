import { eventually } from '../../support/eventually.js';
import type { Direction, Hold } from '../../support/tcp-proxy.js';
import { required, type Berth } from '../fleet.js';
import { BotRecord } from '../history.js';
import { readBots } from '../readings.js';
import type { Stage } from '../stage.js';

const isOfLog = (opening: string): boolean => opening.includes('invalidation log');

/** Holds back the next message between a server and PostgreSQL that names a bot; the log is another matter. */
export const holdRow = (berth: Berth, bot: BotRecord, direction: Direction): Hold =>
  required(berth.postgres).hold((text, opening) => text.includes(bot.id) && !isOfLog(opening), direction);

/** A log read this lately has not been held back (ms). */
const RECENT_MS = 400;

/** Waits until every server reads the invalidation log again: the schedule before may have kept it from doing so. */
async function knowTheLog({ fleet }: Stage): Promise<void> {
  for (const { server } of fleet.berths) {
    await eventually(async () => {
      const response = await fetch(new URL('/readyz', server.process.url));
      const { invalidationLogAgeMs } = (await response.json()) as { invalidationLogAgeMs: number | null };
      return invalidationLogAgeMs !== null && invalidationLogAgeMs < RECENT_MS;
    });
  }
}

/**
 * Keeps the servers from reading the invalidation log for about a second, as a slow database might: what they do right
 * meanwhile they do by generations alone.
 */
export async function delayLogs(stage: Stage): Promise<void> {
  const { fleet } = stage;
  await knowTheLog(stage);
  const holds = fleet.berths.map(({ postgres }): Hold =>
    required(postgres).hold((_, opening) => isOfLog(opening), 'down'),
  );
  await Promise.all(holds.map(caught));
}

/** Longer than any message takes on the busiest machine (ms). */
const CAUGHT_MS = 15_000;

/** Waits until a message is held back. @throws Error if none comes: then the schedule does not fit the server any more */
export async function caught(hold: Hold): Promise<Hold> {
  let timer: NodeJS.Timeout | undefined;
  const never = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      hold.release();
      reject(new Error('The message that was to be held back has not come'));
    }, CAUGHT_MS);
  });
  await Promise.race([hold.caught, never]).finally(() => clearTimeout(timer));
  return hold;
}

/** Adds a bot that no server has ever read. */
export async function addBot(stage: Stage): Promise<BotRecord> {
  const { sql, history, fixture } = stage;
  await knowTheLog(stage);
  const orgId = fixture.orgIds[0] as string;
  const [row] = await sql<{ id: string }[]>`
    insert into bots (org_id, name) values (${orgId}, 'even, new') returning id`;
  const bot = history.learn(new BotRecord((row as { id: string }).id, orgId, 'even'));
  history.isCreated(bot, performance.now());
  return bot;
}

/** Reads a bot through some servers, some times. */
export async function readThrough(
  berths: readonly Berth[],
  { workload }: Stage,
  bot: BotRecord,
  times: number,
): Promise<void> {
  for (let i = 0; i < times; i++) {
    for (const { server } of berths) await workload.perform(readBots([bot]), server);
  }
}

/** Reads a bot through every server some times. */
export const readEverywhere = async (stage: Stage, bot: BotRecord, times = 5): Promise<void> =>
  await readThrough(stage.fleet.berths, stage, bot, times);

/** The server that reads first, and the one that writes, in schedules of two. */
export function readerAndWriter({ fleet }: Stage): { reader: Berth; writer: Berth } {
  return { reader: fleet.berth(0), writer: fleet.berth(1) };
}
