import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { addUser } from '../../support/people.js';
import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import type { Server } from '../fleet.js';
import { BotRecord } from '../history.js';
import { FAULTLESS } from '../register.js';
import { readBots, readOrganization, readPageWithStats } from '../readings.js';
import type { CoherenceRun } from '../coherence-run.js';

/** More rows than one entry of the invalidation log can name. */
const BULK_BOTS = 1_200;
const VISIBLE_MS = 2_001;

/** Writes by SQL, past all servers: every server must show each of them 2 s after its commit. */
export const outsideWrites: Fault = {
  name: 'writes from outside',
  about:
    'UPDATE, INSERT of an id that was read before, UPDATE of 1,200 bots, COPY, TRUNCATE messages, memberships',
  tolerance: WITHIN_TWO_SECONDS,
  async act(run, span) {
    const bulkOrgId = await addBulkOrganization(run);
    const guest = { ...(await addUser(run.sql)), isMember: false };
    for (let round = 0; round === 0 || !span.isOver; round++) {
      await updateOne(run);
      await insertAfterMiss(run);
      await copy(run);
      await updateMany(run, bulkOrgId);
      await truncateMessages(run);
      const changedAt = await changeMembership(run, guest);
      await span.pause(VISIBLE_MS);
      await checkMembership(run, guest, changedAt);
      await readPages(run, bulkOrgId);
      await run.workload.readAll();
    }
  },
};

async function updateOne({ sql, history, fixture }: CoherenceRun): Promise<void> {
  for (const orgId of fixture.orgIds) {
    const bot = history.botsOf(orgId)[0];
    if (!bot) continue;
    bot.version.mayGrowBy(1);
    const [row] = await sql<{ version: number }[]>`
      update bots set description = 'from outside' where id = ${bot.id} returning version`;
    if (row) bot.version.isCommitted(row.version, performance.now());
  }
}

/** Inserts a bot after the servers have cached that it does not exist. */
async function insertAfterMiss(run: CoherenceRun): Promise<void> {
  const { sql, history, fixture, workload, fleet } = run;
  const orgId = fixture.orgIds[0] as string;
  const bot = new BotRecord(randomUUID(), orgId, 'odd');
  for (const { server } of fleet.berths) await workload.perform(readBots([bot]), server);
  await sql`insert into bots (id, org_id, name) values (${bot.id}, ${orgId}, 'odd, from outside')`;
  history.isInserted(history.learn(bot), performance.now());
}

async function copy({ sql, history, fixture }: CoherenceRun): Promise<void> {
  const orgId = fixture.orgIds[1] as string;
  const bot = new BotRecord(randomUUID(), orgId, 'even');
  const target = await sql`copy bots (id, org_id, name) from stdin`.writable();
  await pipeline(Readable.from([`${bot.id}\t${orgId}\teven, copied\n`]), target);
  history.isInserted(history.learn(bot), performance.now());
}

async function addBulkOrganization({ sql, history, fixture }: CoherenceRun): Promise<string> {
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

async function updateMany(run: CoherenceRun, orgId: string): Promise<void> {
  const { sql, history } = run;
  const bots = history.botsOf(orgId);
  await readPages(run, orgId);
  for (const bot of bots) bot.version.mayGrowBy(1);
  const rows = await sql<{ id: string; version: number }[]>`
    update bots set description = description || '.' where org_id = ${orgId} returning id, version`;
  const at = performance.now();
  for (const { id, version } of rows) history.bot(id)?.version.isCommitted(version, at);
}

async function truncateMessages({ sql, history, mutations, fixture, workload }: CoherenceRun): Promise<void> {
  const resume = await workload.holdMessages();
  const bots = fixture.orgIds.flatMap((orgId) => history.botsOf(orgId));
  const haveVanished = history.messagesVanish(bots);
  await sql`truncate messages`;
  const at = performance.now();
  haveVanished(at);
  for (const bot of bots) {
    bot.total.isCommitted(0, at);
    bot.failed.isCommitted(0, at);
  }
  fixture.pending.length = 0;
  mutations.forgetMarks();
  resume();
}

/** A user whose membership is added and removed by turns. */
interface Guest {
  readonly id: string;
  readonly token: string;
  isMember: boolean;
}

/** Adds or removes the membership. Returns when the change was committed. */
async function changeMembership(run: CoherenceRun, guest: Guest): Promise<number> {
  const { sql, fixture } = run;
  const orgId = fixture.orgIds[0] as string;
  for (const { server } of run.fleet.berths) await isLetIn(run, server, guest);
  if (guest.isMember) await sql`delete from memberships where user_id = ${guest.id}`;
  else await sql`insert into memberships (user_id, org_id) values (${guest.id}, ${orgId})`;
  guest.isMember = !guest.isMember;
  return performance.now();
}

async function checkMembership(run: CoherenceRun, guest: Guest, changedAt: number): Promise<void> {
  const { fleet, history } = run;
  for (const { server } of fleet.berths) {
    const from = performance.now();
    const isRight = (await isLetIn(run, server, guest)) === guest.isMember;
    history.findings.count('access');
    history.findings.record(
      {
        ...FAULTLESS,
        missedCommitted: isRight ? undefined : from - changedAt,
      },
      () => `membership ${String(guest.isMember)} not seen by ${server.name}`,
    );
  }
}

async function isLetIn({ fixture }: CoherenceRun, { process }: Server, { token }: Guest): Promise<boolean> {
  const { text, variables } = readOrganization(fixture.orgIds[0] as string);
  const { data } = await process.client(token).sendText<{ organization: unknown }>(text, variables);
  return data?.organization != null;
}

async function readPages({ workload, fleet }: CoherenceRun, orgId: string): Promise<void> {
  for (const { server } of fleet.berths) {
    for (const page of [1, 7, 30]) await workload.perform(readPageWithStats(orgId, page), server);
  }
}
