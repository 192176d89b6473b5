import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type postgres from 'postgres';

import { OrganizationRepository } from '../../src/organizations/organization.repository.js';
import { addOrganization } from '../support/people.js';
import { connectRecording, explain, nodesOf, type PlanNode } from '../support/query-plan.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

const BOTS = 100_000;
const SHARDS = 64;
/** So many that a plan could choose to read all of them. */
const OTHER_ORGANIZATIONS = 500;

const rowsOf = (node: PlanNode): number =>
  (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'];

describe(`statistics of an organization with ${BOTS} bots`, () => {
  let database: TestDatabase;
  let session: postgres.ReservedSql;
  let repository: OrganizationRepository;
  let statements: string[];
  let disconnect: () => Promise<void>;
  let orgId: string;

  beforeAll(async () => {
    database = await createDatabase();
    const { sql } = database;
    session = await sql.reserve();
    orgId = await addOrganization(sql);
    await sql`insert into bots (org_id, name, status)
      select ${orgId}, 'b' || n, (case when n % 4 = 0 then 'RUNNING' else 'STOPPED' end)::bot_status
      from generate_series(1, ${BOTS}::int) as n`;
    await sql`insert into organizations (name, slug)
      select 'o', 'other-' || n from generate_series(1, ${OTHER_ORGANIZATIONS}::int) as n`;
    await sql`insert into bots (org_id, name, status)
      select id, 'b', 'RUNNING' from organizations cross join generate_series(1, 20)`;
    await sql`insert into messages (bot_id, conversation_id, contact_id, direction, status)
      select id, 'c', 'p', 'INBOUND', 'FAILED' from bots where org_id = ${orgId} limit 1000`;
    await sql.unsafe('vacuum analyze');
    const connected = connectRecording(database.url);
    repository = new OrganizationRepository(connected.db);
    ({ statements, close: disconnect } = connected);
  }, 120_000);

  afterAll(async () => {
    session?.release();
    await disconnect?.();
    await database?.drop();
  });

  test.each(['custom', 'generic'] as const)(
    'are read from no more rows than it has shards, by a %s plan',
    async (mode) => {
      statements.length = 0;
      const [found] = await repository.findStats([orgId], '');
      expect(found?.value).toMatchObject({
        id: orgId,
        bots: BOTS + 20,
        runningBots: BOTS / 4 + 20,
        totalMessages: 1_000,
        failedMessages: 1_000,
      });
      const [statement = ''] = statements;
      const { plan } = await explain(session, statement, ["''", `'{${orgId}}'`], mode);
      const read = new Map<string, number>();
      for (const node of nodesOf(plan)) {
        const table = node['Relation Name'];
        if (table !== undefined) read.set(table, (read.get(table) ?? 0) + rowsOf(node));
      }
      // An organization's own row is found by its key, or by a scan if there are few, so it does not count.
      const { organization_totals: shards, bots, bot_stats: totals, messages } = Object.fromEntries(read);
      expect({ shards, bots, totals, messages }).toEqual({ shards: SHARDS });
    },
  );

  test('look for the last message among the bots of one shard after it is deleted', async () => {
    const [newest] = await session<[{ id: string }]>`
      select m.id from messages as m join bots as b on b.id = m.bot_id where b.org_id = ${orgId} limit 1`;
    await session`update messages set created_at = '2040-01-01' where id = ${newest.id}`;
    const scanned = async () => {
      const [row] = await session<[{ sequential: number; indexed: number }]>`
        select seq_tup_read::int as sequential, idx_tup_fetch::int as indexed from pg_stat_xact_user_tables
        where relname = 'bot_stats'`;
      return row;
    };
    await session`begin`;
    await session`delete from messages where id = ${newest.id}`;
    const { sequential, indexed } = await scanned();
    await session`rollback`;
    expect(sequential).toBe(0);
    // A 64th of the bots, more or less.
    expect(indexed).toBeLessThan((2 * BOTS) / SHARDS);
  });
});
