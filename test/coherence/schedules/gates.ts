import { eventually } from '../../support/eventually.js';
import type { Direction, Hold } from '../../support/tcp-proxy.js';
import { required, type Berth } from '../fleet.js';
import { BotPair, BotRecord } from '../history.js';
import { describePair, readBots } from '../readings.js';
import type { CoherenceRun } from '../coherence-run.js';

const isOfLog = (opening: string): boolean => opening.includes('invalidation log');

/** Holds back the next message between a server and PostgreSQL that contains a bot's id, except reads of the log. */
export const holdRow = (berth: Berth, bot: BotRecord, direction: Direction): Hold =>
  required(berth.postgres).hold((text, opening) => text.includes(bot.id) && !isOfLog(opening), direction);

/** A server that has read the log within this time is not being held back (ms). */
const RECENT_MS = 400;

/** Waits until every server reads the invalidation log again; the schedule before may have delayed its reads. */
async function logsAreCurrent({ fleet }: CoherenceRun): Promise<void> {
  for (const { server } of fleet.berths) {
    await eventually(async () => {
      const response = await fetch(new URL('/readyz', server.process.url));
      const { invalidationLogAgeMs } = (await response.json()) as { invalidationLogAgeMs: number | null };
      return invalidationLogAgeMs !== null && invalidationLogAgeMs < RECENT_MS;
    });
  }
}

/**
 * Holds back the servers' reads of the invalidation log for about a second, as a slow database might, so that only the
 * generations can keep stale values from being served.
 */
export async function delayLogs(run: CoherenceRun): Promise<void> {
  const { fleet } = run;
  await logsAreCurrent(run);
  const holds = fleet.berths.map(({ postgres }): Hold =>
    required(postgres).hold((_, opening) => isOfLog(opening), 'down'),
  );
  await Promise.all(holds.map(caught));
}

/** How long to wait for a message, even on a busy machine (ms). */
const CAUGHT_MS = 15_000;

/** Waits until a message is held back. @throws Error if none comes: the schedule no longer matches the server's code */
export async function caught(hold: Hold): Promise<Hold> {
  let timer: NodeJS.Timeout | undefined;
  // Made here, so that its stack names the caller.
  const missing = new Error('The message to be held back has not been sent');
  const never = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      hold.release();
      reject(missing);
    }, CAUGHT_MS);
  });
  await Promise.race([hold.caught, never]).finally(() => clearTimeout(timer));
  return hold;
}

/** Adds a bot by SQL, so that no server has cached it. */
export async function addBot(run: CoherenceRun): Promise<BotRecord> {
  const { sql, history, fixture } = run;
  await logsAreCurrent(run);
  const orgId = fixture.orgIds[0] as string;
  const [row] = await sql<{ id: string }[]>`
    insert into bots (org_id, name) values (${orgId}, 'even, new') returning id`;
  const bot = history.learn(new BotRecord((row as { id: string }).id, orgId, 'even'));
  history.isCreated(bot, performance.now());
  return bot;
}

/** Adds two bots by SQL that are only changed together. */
export async function addPair(run: CoherenceRun): Promise<BotPair> {
  const bots = [await addBot(run), await addBot(run)] as const;
  await run.sql`update bots set description = ${describePair(0)} where id = any(${bots.map(({ id }) => id)})`;
  for (const { version } of bots) {
    version.mayGrowBy(1);
    version.isAnswered(2, performance.now());
  }
  return new BotPair([...bots]);
}

/** Reads a bot through each of these servers, `times` times. */
export async function readThrough(
  berths: readonly Berth[],
  { workload }: CoherenceRun,
  bot: BotRecord,
  times: number,
): Promise<void> {
  for (let i = 0; i < times; i++) {
    for (const { server } of berths) await workload.perform(readBots([bot]), server);
  }
}

/** Reads a bot through every server, `times` times. */
export const readEverywhere = async (run: CoherenceRun, bot: BotRecord, times = 5): Promise<void> =>
  await readThrough(run.fleet.berths, run, bot, times);

/** The two servers of a schedule: one reads first, the other writes. */
export function readerAndWriter({ fleet }: CoherenceRun): { reader: Berth; writer: Berth } {
  return { reader: fleet.berth(0), writer: fleet.berth(1) };
}
