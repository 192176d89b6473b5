import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { required, type Berth } from '../fleet.js';
import type { BotRecord } from '../history.js';
import { readBots, readDetails, readOrganization, readStats } from '../readings.js';
import type { Span } from '../span.js';
import type { CoherenceRun } from '../coherence-run.js';

type Attempt = (run: CoherenceRun, victim: Berth, bot: BotRecord) => Promise<unknown>;

const MUTATIONS: Readonly<Record<string, Attempt>> = {
  updateBot: async ({ mutations }, { server }, bot) => await mutations.update(server, bot),
  recordMessages: async ({ mutations }, { server }, bot) => await mutations.record(server, bot, 1),
  deleteBot: async ({ mutations }, { server }, bot) => await mutations.delete(server, bot),
  createBot: async ({ mutations }, { server }, bot) => await mutations.create(server, bot.orgId, 'odd'),
};

/** Every mutation needs fewer messages. */
const MAX_STEPS = 60;

/**
 * Kills a server at each step of a mutation: after the first message between it and Redis or PostgreSQL, then after the
 * second, and so on, until the mutation completes before the kill.
 */
export const killedAtEachStep: Fault = {
  name: 'server killed at each step of a mutation',
  about: `SIGKILL at the n-th message to or from Redis or PostgreSQL; ${Object.keys(MUTATIONS).join(', ')}`,
  tolerance: WITHIN_TWO_SECONDS,
  options: { proxies: { redis: true, postgres: true } },
  async act(run, span) {
    const victim = run.fleet.berth(0);
    const bystander = run.fleet.berth(1);
    run.fleet.reserve(victim);
    const counts: string[] = [];
    for (const [name, attempt] of Object.entries(MUTATIONS)) {
      let step = 1;
      while (step < MAX_STEPS && !span.signal.aborted) {
        const bot = await prepare(run, victim, bystander);
        const isKilled = await killAt(step, victim, async () => await attempt(run, victim, bot));
        if (!isKilled) break;
        step += 1;
        await Promise.all([run.fleet.restart(victim), showThatItIsSeen(run, bystander, bot, span)]);
      }
      counts.push(`${name} ${step - 1}`);
    }
    run.history.findings.notes.push(`killed at every message of ${counts.join(', ')}`);
    run.fleet.release(victim);
  },
};

/** Caches a bot through both servers, and opens the victim's connections. */
async function prepare(run: CoherenceRun, victim: Berth, bystander: Berth): Promise<BotRecord> {
  const { history, fixture, mutations, workload } = run;
  const orgId = fixture.orgIds[0] as string;
  const [bot, other] = history.botsOf(orgId).slice(-2);
  if (!bot || !other) throw new Error('There are no bots left');
  await mutations.update(victim.server, other);
  for (const { server } of [bystander, victim]) {
    for (const read of [readBots, readDetails, readStats]) await workload.perform(read([bot]), server);
    await workload.perform(readOrganization(orgId), server);
  }
  return bot;
}

/** Kills the victim at its n-th message. Returns false if the mutation needed fewer messages. */
async function killAt(step: number, victim: Berth, attempt: () => Promise<unknown>): Promise<boolean> {
  let messages = 0;
  let killing: Promise<void> | undefined;
  const proxies = [required(victim.redis), required(victim.postgres)];
  for (const proxy of proxies) {
    proxy.watch(({ opening }) => {
      if (opening.includes('invalidation log')) return;
      messages += 1;
      if (messages === step) killing = victim.server.kill();
    });
  }
  await attempt();
  for (const proxy of proxies) proxy.watch(undefined);
  await killing;
  return killing !== undefined;
}

/** Whether or not the mutation was made, all servers must show the database's state after two seconds. */
async function showThatItIsSeen(
  run: CoherenceRun,
  { server }: Berth,
  bot: BotRecord,
  span: Span,
): Promise<void> {
  await run.readTruth();
  await span.pause(2_001);
  for (const read of [readBots, readDetails, readStats]) await run.workload.perform(read([bot]), server);
  await run.workload.perform(readOrganization(bot.orgId), server);
}
