import { expect, test } from '@jest/globals';

import { toIsoInstant } from '../../src/db/instant.js';
import { BotsWithStatsDocument, CreateBotDocument, RecordMessagesDocument } from '../generated/graphql.js';
import { startApp } from '../support/app.js';
import { addOrganization, addUser } from '../support/people.js';
import { startPgBouncer } from '../support/pgbouncer.js';
import { createDatabase } from '../support/services.js';

/** Settings of a database that change how it formats values, parses statements or finds tables. */
const SETTINGS = {
  datestyle: "'SQL, DMY'",
  intervalstyle: "'sql_standard'",
  timezone: "'Asia/Kathmandu'",
  extra_float_digits: '-15',
  bytea_output: "'escape'",
  standard_conforming_strings: 'off',
  xmlbinary: "'hex'",
  default_transaction_isolation: "'serializable'",
  row_security: 'off',
  search_path: "'pg_catalog'",
};

test.each([
  ['PostgreSQL', false],
  ['PgBouncer', true],
])('the settings of the database do not change answers through %s', async (_, isPooled) => {
  const database = await createDatabase();
  const orgId = await addOrganization(database.sql);
  const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
  await database.sql`insert into bots (org_id, name, created_at) values (${orgId}, 'b', '2026-05-03T01:02:03.456Z')`;
  const [{ name }] = (await database.sql`select current_database() as name`) as [{ name: string }];
  for (const [setting, value] of Object.entries(SETTINGS)) {
    // Through a pooler, only the database can set the search_path of sessions.
    if (isPooled && setting === 'search_path') continue;
    await database.sql.unsafe(`alter database ${name} set ${setting} = ${value}`);
  }
  const bouncer = isPooled ? await startPgBouncer(database.url) : undefined;
  const app = await startApp({ DATABASE_URL: bouncer?.url ?? database.url });
  try {
    const client = app.client(token);
    const read = await client.ask(BotsWithStatsDocument, { orgId });
    expect(read.bots.items[0]).toMatchObject({ createdAt: '2026-05-03T01:02:03.456Z' });
    const bot = await client.ask(CreateBotDocument, { input: { orgId, name: 'back\\slash \'"' } });
    expect(bot.createBot.name).toBe('back\\slash \'"');
    const messages = [null, 5].map((responseTimeMs) => ({
      conversationId: 'c\\',
      contactId: 'p',
      direction: 'OUTBOUND' as never,
      status: 'DELIVERED' as never,
      text: 'NULL',
      responseTimeMs,
    }));
    const { recordMessages } = await client.ask(RecordMessagesDocument, {
      botId: bot.createBot.id,
      messages,
    });
    expect(recordMessages).toMatchObject({ totalMessages: 2, averageResponseTimeMs: 5 });
    const { bots } = await client.ask(BotsWithStatsDocument, { orgId, search: 'BACK\\' });
    expect(bots.total).toBe(1);
  } finally {
    await app.close();
    await bouncer?.stop();
    await database.drop();
  }
});

test('an instant is parsed exactly in any time zone and era', () => {
  expect(toIsoInstant('2026-05-03 01:02:03.456789+00')).toBe('2026-05-03T01:02:03.456Z');
  expect(toIsoInstant('2026-05-03 06:47:03.4+05:45')).toBe('2026-05-03T01:02:03.400Z');
  expect(toIsoInstant('1880-01-01 00:19:32+00:19:32')).toBe('1880-01-01T00:00:00.000Z');
  expect(toIsoInstant('2026-01-01 00:00:00-03:30')).toBe('2026-01-01T03:30:00.000Z');
  expect(toIsoInstant('0044-03-15 12:00:00+00 BC')).toBe('-000043-03-15T12:00:00.000Z');
  expect(toIsoInstant('12026-01-31 09:30:00+00')).toBe('+012026-01-31T09:30:00.000Z');
  expect(toIsoInstant('294276-12-31 23:59:59.999999+00')).toBe('+275760-09-13T00:00:00.000Z');
  expect(toIsoInstant('infinity')).toBe('+275760-09-13T00:00:00.000Z');
  expect(toIsoInstant('-infinity')).toBe('-271821-04-20T00:00:00.000Z');
  expect(() => toIsoInstant('03/05/2026 01:02:03 UTC')).toThrow('style ISO');
});
