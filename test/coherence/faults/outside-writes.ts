import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { addUser } from '../../support/people.js';
import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import type { Server } from '../fleet.js';
import { BotRecord } from '../history.js';
import { readBots, readOrganization, readPageWithStats } from '../readings.js';
import type { Stage } from '../stage.js';

/** More rows than one entry of the invalidation log names. */
const BULK_BOTS = 1_200;
const VISIBLE_MS = 2_001;

/** Writes that no server knows of, through a plain connection: each must be seen everywhere 2 s after its commit. */
export const outsideWrites: Fault = {
  name: 'writes from outside',
  about:
    'UPDATE, INSERT of an id that was read before, UPDATE of 1,200 bots, COPY, TRUNCATE messages, memberships',
  tolerance: WITHIN_TWO_SECONDS,
  async act(stage, span) {
    const bulkOrgId = await addBulkOrganization(stage);
    const guest = { ...(await addUser(stage.sql)), isMember: false };
    for (let round = 0; round === 0 || !span.isOver; round++) {
      await updateOne(stage);
      await insertWhatWasMissed(stage);
      await copy(stage);
      await updateMany(stage, bulkOrgId);
      await truncateMessages(stage);
      const changedAt = await changeMembership(stage, guest);
      await span.pause(VISIBLE_MS);
      await checkMembership(stage, guest, changedAt);
      await readPages(stage, bulkOrgId);
      await stage.workload.readAll();
    }
  },
};

async function updateOne({ sql, history, fixture }: Stage): Promise<void> {
  for (const orgId of fixture.orgIds) {
    const bot = history.botsOf(orgId)[0];
    if (!bot) continue;
    bot.version.mayGrowBy(1);
    const [row] = await sql<{ version: number }[]>`
      update bots set description = 'from outside' where id = ${bot.id} returning version`;
    if (row) bot.version.isCommitted(row.version, performance.now());
  }
}

/** Servers remember for a while that there is no such bot; then there is. */
async function insertWhatWasMissed(stage: Stage): Promise<void> {
  const { sql, history, fixture, workload, fleet } = stage;
  const orgId = fixture.orgIds[0] as string;
  const bot = new BotRecord(randomUUID(), orgId, 'odd');
  for (const { server } of fleet.berths) await workload.perform(readBots([bot]), server);
  await sql`insert into bots (id, org_id, name) values (${bot.id}, ${orgId}, 'odd, from outside')`;
  history.isInserted(history.learn(bot), performance.now());
}

async function copy({ sql, history, fixture }: Stage): Promise<void> {
  const orgId = fixture.orgIds[1] as string;
  const bot = new BotRecord(randomUUID(), orgId, 'even');
  const target = await sql`copy bots (id, org_id, name) from stdin`.writable();
  await pipeline(Readable.from([`${bot.id}\t${orgId}\teven, copied\n`]), target);
  history.isInserted(history.learn(bot), performance.now());
}

async function addBulkOrganization({ sql, history, fixture }: Stage): Promise<string> {
  const [organization] = await sql<{ id: string }[]>`
    insert into organizations (name, slug) values ('Bulk', ${randomUUID()}) returning id`;
  const orgId = (organization as { id: string }).id;
  await sql`insert into memberships (user_id, org_id, role)
    select user_id, ${orgId}, role from memberships where org_id = ${fixture.orgIds[0] as string}`;
  const rows = await sql<{ id: string }[]>`
    insert into bots (org_id, name) select ${orgId}, 'even ' || n from generate_series(1, ${BULK_BOTS}) as n returning id`;
  for (const { id } of rows)
    history.isInserted(history.learn(new BotRecord(id, orgId, 'even')), performance.now());
  return orgId;
}

async function updateMany(stage: Stage, orgId: string): Promise<void> {
  const { sql, history } = stage;
  const bots = history.botsOf(orgId);
  await readPages(stage, orgId);
  for (const bot of bots) bot.version.mayGrowBy(1);
  const rows = await sql<{ id: string; version: number }[]>`
    update bots set description = description || '.' where org_id = ${orgId} returning id, version`;
  const at = performance.now();
  for (const { id, version } of rows) history.bot(id)?.version.isCommitted(version, at);
}

async function truncateMessages({ sql, history, mutations, fixture, workload }: Stage): Promise<void> {
  const resume = await workload.holdMessages();
  const bots = fixture.orgIds.flatMap((orgId) => history.botsOf(orgId));
  for (const bot of bots) {
    bot.total.mayRestartFrom(0);
    bot.failed.mayRestartFrom(0);
  }
  await sql`truncate messages`;
  const at = performance.now();
  for (const bot of bots) {
    bot.total.isCommitted(0, at);
    bot.failed.isCommitted(0, at);
  }
  fixture.pending.length = 0;
  mutations.forgetMarks();
  resume();
}

/** Somebody whose membership comes and goes. */
interface Guest {
  readonly id: string;
  readonly token: string;
  isMember: boolean;
}

/** Returns when the change was committed. */
async function changeMembership(stage: Stage, guest: Guest): Promise<number> {
  const { sql, fixture } = stage;
  const orgId = fixture.orgIds[0] as string;
  for (const { server } of stage.fleet.berths) await isLetIn(stage, server, guest);
  if (guest.isMember) await sql`delete from memberships where user_id = ${guest.id}`;
  else await sql`insert into memberships (user_id, org_id) values (${guest.id}, ${orgId})`;
  guest.isMember = !guest.isMember;
  return performance.now();
}

async function checkMembership(stage: Stage, guest: Guest, changedAt: number): Promise<void> {
  const { fleet, history } = stage;
  for (const { server } of fleet.berths) {
    const from = performance.now();
    const isRight = (await isLetIn(stage, server, guest)) === guest.isMember;
    history.findings.count('access');
    history.findings.judge(
      {
        missedAnswered: undefined,
        missedCommitted: isRight ? undefined : from - changedAt,
        impossible: false,
      },
      () => `membership ${String(guest.isMember)} not seen by ${server.name}`,
    );
  }
}

async function isLetIn({ fixture }: Stage, { process }: Server, { token }: Guest): Promise<boolean> {
  const { text, variables } = readOrganization(fixture.orgIds[0] as string);
  const { data } = await process.client(token).sendText<{ organization: unknown }>(text, variables);
  return data?.organization != null;
}

async function readPages({ workload, fleet }: Stage, orgId: string): Promise<void> {
  for (const { server } of fleet.berths) {
    for (const page of [1, 7, 30]) await workload.perform(readPageWithStats(orgId, page), server);
  }
}
