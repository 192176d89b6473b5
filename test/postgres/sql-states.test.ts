import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { BotDocument, CreateBotDocument, MeDocument, UpdateBotDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client, GraphQLAnswer } from '../support/client.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

/** Every error of PostgreSQL, a pooler or the network that can pass, by SQLSTATE. */
const PASSING: Readonly<Record<string, string>> = {
  '08000': 'connection_exception',
  '08001': 'sqlclient_unable_to_establish_sqlconnection',
  '08003': 'connection_does_not_exist',
  '08004': 'sqlserver_rejected_establishment_of_sqlconnection',
  '08006': 'connection_failure',
  '08007': 'transaction_resolution_unknown',
  '08P01': 'protocol_violation',
  '25006': 'read_only_sql_transaction',
  '25P03': 'idle_in_transaction_session_timeout',
  '25P04': 'transaction_timeout',
  '40000': 'transaction_rollback',
  '40001': 'serialization_failure',
  '40002': 'transaction_integrity_constraint_violation',
  '40003': 'statement_completion_unknown',
  '40P01': 'deadlock_detected',
  '53000': 'insufficient_resources',
  '53100': 'disk_full',
  '53200': 'out_of_memory',
  '53300': 'too_many_connections',
  '53400': 'configuration_limit_exceeded',
  '55P03': 'lock_not_available',
  '57000': 'operator_intervention',
  '57014': 'query_canceled',
  '57P01': 'admin_shutdown',
  '57P02': 'crash_shutdown',
  '57P03': 'cannot_connect_now',
  '57P04': 'database_dropped',
  '57P05': 'idle_session_timeout',
  '58000': 'system_error',
  '58030': 'io_error',
  '58P01': 'undefined_file',
  '58P02': 'duplicate_file',
  '72000': 'snapshot_too_old',
};

/** With these a write may have been committed: the connection was lost, or a pooler says so. */
const OUTCOME_UNKNOWN = new Set(
  ['08000', '08001', '08003', '08004', '08006', '08007', '08P01', '40003'].concat([
    '57000',
    '57P01',
    '57P02',
    '57P04',
    '58000',
  ]),
);

describe('a statement that fails with the SQLSTATE', () => {
  let database: TestDatabase;
  let app: TestApp;
  let client: Client;
  let orgId: string;
  let id: string;

  beforeAll(async () => {
    database = await createDatabase();
    const { sql } = database;
    orgId = await addOrganization(sql);
    const { token } = await addUser(sql, { [orgId]: 'OWNER' });
    [id] = (await addBots(sql, orgId, 1)) as [string];
    // Policies of rows raise the error, in reads and in writes.
    await sql.unsafe(`
      create table faults (table_name text, code text);
      create function fault(name text) returns boolean language plpgsql as $$
      declare raised text := (select code from faults where table_name = name);
      begin
        if raised is not null then raise exception 'raised by the test' using errcode = raised; end if;
        return true;
      end $$;
      alter table users enable row level security; alter table users force row level security;
      create policy faulty on users using (fault('users'));
      alter table bots enable row level security; alter table bots force row level security;
      create policy faulty on bots using (fault('bots'))`);
    app = await startApp({ DATABASE_URL: database.url });
    client = app.client(token);
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  /** Asks while statements on a table fail. */
  const during = async <Data>(
    code: string,
    table: string,
    ask: () => Promise<GraphQLAnswer<Data>>,
  ): Promise<GraphQLAnswer<Data>> => {
    await database.sql`insert into faults values (${table}, ${code})`;
    try {
      return await ask();
    } finally {
      await database.sql`truncate faults`;
    }
  };
  const versions = async (): Promise<unknown> => await database.sql`select id, version, name from bots`;
  const unavailable = (outcome: object) => [
    expect.objectContaining({ extensions: { code: 'UNAVAILABLE', retryable: true, ...outcome } }),
  ];

  test.each(Object.entries(PASSING))('%s (%s) is UNAVAILABLE to clients', async (code) => {
    const before = await versions();
    const outcome = OUTCOME_UNKNOWN.has(code) ? { outcome: 'unknown' } : {};
    const me = await during(code, 'users', async () => await client.send(MeDocument, {}));
    expect(me.errors).toEqual(unavailable({}));
    const bot = await during(code, 'bots', async () => await client.send(BotDocument, { id }));
    expect(bot.errors).toEqual(unavailable({}));
    const created = await during(
      code,
      'bots',
      async () => await client.send(CreateBotDocument, { input: { orgId, name: code } }),
    );
    expect(created.errors).toEqual(unavailable(outcome));
    const updated = await during(
      code,
      'bots',
      async () => await client.send(UpdateBotDocument, { id, input: { name: code } }),
    );
    expect(updated.errors).toEqual(unavailable(outcome));
    expect(await versions()).toEqual(before);
    expect(app.logs.filter(({ code: logged }) => logged === code).length).toBeGreaterThanOrEqual(4);
    app.logs.length = 0;
    // The connection is as good as new.
    await client.ask(BotDocument, { id });
  });

  test('XX001 (data_corrupted) does not pass: it is masked, and logged for the operator', async () => {
    const bot = await during('XX001', 'bots', async () => await client.send(BotDocument, { id }));
    expect(bot.errors).toMatchObject([{ extensions: { code: 'INTERNAL_SERVER_ERROR' } }]);
    expect(app.logs.at(-1)).toMatchObject({ level: 50, msg: 'Unexpected error, masked to the client' });
  });
});
