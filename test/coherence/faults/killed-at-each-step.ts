import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { required, type Berth } from '../fleet.js';
import type { BotRecord } from '../history.js';
import { readBots, readDetails, readOrganization, readStats } from '../readings.js';
import type { Span } from '../span.js';
import type { Stage } from '../stage.js';

type Attempt = (stage: Stage, victim: Berth, bot: BotRecord) => Promise<unknown>;

const MUTATIONS: Readonly<Record<string, Attempt>> = {
  updateBot: async ({ mutations }, { server }, bot) => await mutations.update(server, bot),
  recordMessages: async ({ mutations }, { server }, bot) => await mutations.record(server, bot, 1),
  deleteBot: async ({ mutations }, { server }, bot) => await mutations.delete(server, bot),
  createBot: async ({ mutations }, { server }, bot) => await mutations.create(server, bot.orgId, 'odd'),
};

/** More messages than any mutation needs. */
const MAX_STEPS = 60;

/**
 * A server dies at each step of a mutation: the n-th message between it and Redis or PostgreSQL goes on its way, and the
 * server is killed; then at the next message, and so on, until the mutation gets to its end.
 */
export const killedAtEachStep: Fault = {
  name: 'server killed at each step of a mutation',
  about: `SIGKILL at the n-th message to or from Redis or PostgreSQL; ${Object.keys(MUTATIONS).join(', ')}`,
  tolerance: WITHIN_TWO_SECONDS,
  stage: { proxies: { redis: true, postgres: true } },
  async act(stage, span) {
    const victim = stage.fleet.berth(0);
    const bystander = stage.fleet.berth(1);
    stage.fleet.reserve(victim);
    const counts: string[] = [];
    for (const [name, attempt] of Object.entries(MUTATIONS)) {
      let step = 1;
      while (step < MAX_STEPS && !span.signal.aborted) {
        const bot = await prepare(stage, victim, bystander);
        const isKilled = await killAt(step, victim, async () => await attempt(stage, victim, bot));
        if (!isKilled) break;
        step += 1;
        await Promise.all([stage.fleet.restart(victim), showThatItIsSeen(stage, bystander, bot, span)]);
      }
      counts.push(`${name} ${step - 1}`);
    }
    stage.history.findings.notes.push(`killed at every message of ${counts.join(', ')}`);
    stage.fleet.release(victim);
  },
};

/** Has a bot cached everywhere, and the victim's connections in use. */
async function prepare(stage: Stage, victim: Berth, bystander: Berth): Promise<BotRecord> {
  const { history, fixture, mutations, workload } = stage;
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

/** Returns whether it came to that message. */
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

/** Whatever the mutation has come to, everybody must agree about it when two seconds are over. */
async function showThatItIsSeen(stage: Stage, { server }: Berth, bot: BotRecord, span: Span): Promise<void> {
  await stage.readTruth();
  await span.pause(2_001);
  for (const read of [readBots, readDetails, readStats]) await stage.workload.perform(read([bot]), server);
  await stage.workload.perform(readOrganization(bot.orgId), server);
}
