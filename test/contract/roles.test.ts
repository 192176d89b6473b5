import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';

import { signToken } from '../../src/auth/sign-token.js';
import { MeDocument, UpdateBotDocument } from '../generated/graphql.js';
import type { Client } from '../support/client.js';
import { addOrganization, addUser, SECRET } from '../support/people.js';
import { createFixture, askUntil, type Fixture } from './fixture.js';
import {
  CALLERS,
  expectedOutcome,
  MUTATIONS,
  OPERATIONS,
  OUTSIDERS,
  QUERIES,
  ROLES,
  UNKNOWN,
  type Caller,
  type Operation,
  type Target,
} from './role-operations.js';

describe('who may do what', () => {
  let fixture: Fixture;
  let foreignOrgId: string;
  let clients: Record<Caller, Client>;

  beforeAll(async () => {
    fixture = await createFixture();
    const { sql } = fixture.database;
    foreignOrgId = await addOrganization(sql, 'Globex');
    const outsider = await addUser(sql, { [foreignOrgId]: 'OWNER' });
    const loner = await addUser(sql);
    const key = new TextEncoder().encode(SECRET);
    const header = { alg: 'HS256' };
    const unsigned = [{ alg: 'none' }, { sub: outsider.id }]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    const tokens: Record<Exclude<Caller, (typeof ROLES)[number]>, string | undefined> = {
      'an owner of another organization': outsider.token,
      'a user without a membership': loner.token,
      'nobody (no token)': undefined,
      'a token that is no token': 'nonsense',
      'a token signed with another secret': await signToken(
        'another secret, just as long as it must be',
        loner.id,
      ),
      'a token that is not signed': `${unsigned}.`,
      'an expired token': await new SignJWT()
        .setProtectedHeader(header)
        .setSubject(outsider.id)
        .setExpirationTime('-1 minute')
        .sign(key),
      'a token that is not valid yet': await new SignJWT()
        .setProtectedHeader(header)
        .setSubject(outsider.id)
        .setNotBefore('10 minutes')
        .sign(key),
      'a token of an unknown user': await signToken(SECRET, randomUUID()),
      'a token that names no user': await new SignJWT().setProtectedHeader(header).sign(key),
      'a token whose subject is no uuid': await signToken(SECRET, 'someone'),
    };
    clients = {
      OWNER: fixture.owner,
      EDITOR: fixture.editor,
      VIEWER: fixture.viewer,
      ...(Object.fromEntries(
        Object.entries(tokens).map(([caller, token]) => [caller, fixture.app.client(token)]),
      ) as Record<Exclude<Caller, (typeof ROLES)[number]>, Client>),
    };
  });

  afterAll(async () => {
    await fixture?.close();
  });

  /** A bot with one message. */
  async function addTarget(orgId = fixture.orgId): Promise<Target> {
    const [row] = await fixture.database.sql<{ bot_id: string; message_id: string }[]>`
      with bot as (insert into bots (org_id, name) values (${orgId}, 'target') returning id)
      select id as bot_id, gen_random_uuid() as message_id from bot`;
    const { bot_id: botId, message_id: messageId } = row as { bot_id: string; message_id: string };
    await fixture.database.sql`insert into messages (id, bot_id, conversation_id, contact_id, direction, text)
      values (${messageId}, ${botId}, 'conversation', 'contact', 'OUTBOUND', 'Hello')`;
    return { orgId, botId, messageId };
  }

  /** The state that an operation on the target could change. */
  const contents = async ({ orgId, botId }: Target): Promise<unknown> =>
    await fixture.database.sql`
    select to_json(b) as bot, (select count(*) from bots where org_id = ${orgId}) as bots,
      (select json_agg(m) from messages as m where bot_id = ${botId}) as messages
    from (select 1) as one left join bots as b on b.id = ${botId}`;

  describe.each(OPERATIONS)('$name', (operation) => {
    const cases = CALLERS.map((caller) => ({ caller, outcome: expectedOutcome(caller, operation) }));
    let target: Target;

    beforeAll(async () => {
      await fixture.database.sql`delete from bots where org_id = ${fixture.orgId}`;
      target = await addTarget();
    });

    test.each(cases.filter(({ outcome }) => outcome !== 'OK'))(
      'is refused to $caller with $outcome, and changes nothing',
      async ({ caller, outcome }) => {
        const before = await contents(target);
        const answer = await operation.run(clients[caller], target);
        expect(answer.errors?.map(({ extensions }) => extensions.code)).toEqual([outcome]);
        expect(Object.values(answer.data ?? {})).toEqual(operation.nullable ? [null] : []);
        expect(await contents(target)).toEqual(before);
      },
    );

    test.each(cases.filter(({ outcome }) => outcome === 'OK'))(
      'is allowed to $caller',
      async ({ caller }) => {
        const answer = await operation.run(clients[caller], await addTarget());
        expect(answer.errors).toBeUndefined();
        expect(Object.values(answer.data ?? {})).toEqual([expect.anything()]);
      },
    );
  });

  describe.each(OPERATIONS.filter(({ needs }) => needs !== 'SELF'))('$name', (operation) => {
    let target: Target;
    const missing: Target = { orgId: randomUUID(), botId: randomUUID(), messageId: randomUUID() };

    beforeAll(async () => {
      const { sql } = fixture.database;
      const stranger = await addOrganization(sql, 'Initech');
      const { token } = await addUser(sql, { [stranger]: 'OWNER' });
      target = await addTarget(stranger);
      // The cache holds the object, and the absence of the other one.
      for (const query of QUERIES) await query.run(fixture.app.client(token), target);
      await operation.run(fixture.owner, missing);
    });

    test.each([...ROLES, ...OUTSIDERS])(
      "answers %s the same for another organization's object and for one that does not exist",
      async (caller) => {
        const answer = await operation.run(clients[caller], target);
        expect(answer.errors?.map(({ extensions }) => extensions.code)).toEqual(['NOT_FOUND']);
        expect(answer).toEqual(await operation.run(clients[caller], missing));
      },
    );
  });

  describe('a cache that a permitted user has filled', () => {
    let target: Target;

    beforeAll(async () => {
      target = await addTarget();
      for (const query of QUERIES) await query.run(clients.OWNER, target);
      const { botId, orgId } = target;
      await askUntil(
        async () =>
          await fixture.admin.exists(
            `bot:${botId}`,
            `bot:${botId}:stats`,
            `bot:${botId}:details`,
            `org:${orgId}:bots`,
            `bots:org:${orgId}:page:1:limit:20:search:`,
          ),
        (count) => count === 5,
      );
    });

    const cached = QUERIES.filter(({ uncached }) => uncached !== true);
    test.each(cached)('answers $name without reading the database', async (query) => {
      fixture.app.statements.length = 0;
      const { errors } = await query.run(clients.OWNER, target);
      expect(errors).toBeUndefined();
      expect(fixture.app.statements).toEqual([]);
    });

    test.each(
      QUERIES.filter(({ needs }) => needs !== 'SELF').flatMap((query) =>
        [...OUTSIDERS, ...UNKNOWN].map((caller) => ({ query, name: query.name, caller })),
      ),
    )('does not answer $name for $caller', async ({ query, caller }) => {
      const answer = await query.run(clients[caller], target);
      expect(answer.errors?.map(({ extensions }) => extensions.code)).toEqual([
        expectedOutcome(caller, query),
      ]);
      expect(Object.values(answer.data ?? {})).toEqual(query.nullable ? [null] : []);
    });
  });

  test.each([
    ['a VIEWER', 'FORBIDDEN', () => fixture.viewer],
    ['an outsider', 'NOT_FOUND', () => clients['a user without a membership']],
    ['nobody', 'UNAUTHENTICATED', () => clients['nobody (no token)']],
  ])('%s cannot learn the version of a bot: %s', async (_who, code, client) => {
    const { botId: id } = await addTarget();
    for (const expectedVersion of [1, 2]) {
      const input = { name: 'changed', expectedVersion };
      expect(await client().failure(UpdateBotDocument, { id, input })).toMatchObject({ code });
    }
  });

  test.each(MUTATIONS)('$name checks for a token before anything else', async ({ name }) => {
    const unusable: Record<string, string> = {
      createBot: 'createBot(input: { orgId: "x", name: "" }) { id }',
      updateBot: 'updateBot(id: "x", input: { name: "" }) { id }',
      'updateBot without a change': 'updateBot(id: "x", input: { expectedVersion: 0 }) { id }',
      startBot: 'startBot(id: "x") { id }',
      stopBot: 'stopBot(id: "x") { id }',
      deleteBot: 'deleteBot(id: "x")',
      recordMessages: 'recordMessages(botId: "x", messages: []) { botId }',
      addMessages: 'addMessages(botId: "x", messages: []) { bot { id } }',
      updateMessageStatus: 'updateMessageStatus(id: "x", status: FAILED) { id }',
    };
    const answer = await clients['nobody (no token)'].sendText(`mutation { ${unusable[name]} }`);
    expect(answer.errors?.map(({ extensions }) => extensions.code)).toEqual(['UNAUTHENTICATED']);
  });

  test('a refused field does not affect the other fields of the request', async () => {
    const [own, foreign] = [await addTarget(), await addTarget(foreignOrgId)];
    const answer = await fixture.viewer.sendText(
      'query ($own: ID!, $foreign: ID!) { a: bot(id: $foreign) { id } b: bot(id: $own) { id } }',
      { own: own.botId, foreign: foreign.botId },
    );
    expect(answer.data).toEqual({ a: null, b: { id: own.botId } });
    expect(answer.errors).toEqual([
      expect.objectContaining({ path: ['a'], extensions: { code: 'NOT_FOUND' } }),
    ]);
  });

  test('`me` lists the memberships of the caller alone, with their roles', async () => {
    const { sql } = fixture.database;
    const { token, email } = await addUser(sql, { [fixture.orgId]: 'EDITOR', [foreignOrgId]: 'VIEWER' });
    const { me } = await fixture.app.client(token).ask(MeDocument, {});
    expect(me.email).toBe(email);
    expect(Object.fromEntries(me.memberships.map((each) => [each.organization.id, each.role]))).toEqual({
      [fixture.orgId]: 'EDITOR',
      [foreignOrgId]: 'VIEWER',
    });
  });

  describe('a change of memberships by SQL is respected', () => {
    /** Repeats an operation until its outcome is the expected one, or the limit has passed. */
    const outcome = async (operation: Operation, client: Client, target: Target, expected: string) =>
      await askUntil(
        async () => (await operation.run(client, target)).errors?.[0]?.extensions.code ?? 'OK',
        (code) => code === expected,
      );
    const named = (name: string): Operation => OPERATIONS.find((each) => each.name === name) as Operation;

    test('when a membership is revoked: nothing more is answered, however warm the cache is', async () => {
      const { sql } = fixture.database;
      const target = await addTarget();
      const { id, token } = await addUser(sql, { [fixture.orgId]: 'OWNER' });
      const client = fixture.app.client(token);
      for (const query of QUERIES) expect((await query.run(client, target)).errors).toBeUndefined();

      await sql`delete from memberships where user_id = ${id}`;
      expect(await outcome(named('bot'), client, target, 'NOT_FOUND')).toBe('NOT_FOUND');
      for (const operation of OPERATIONS.filter(({ needs }) => needs !== 'SELF')) {
        const answer = await operation.run(client, target);
        expect([operation.name, answer.errors?.[0]?.extensions.code]).toEqual([operation.name, 'NOT_FOUND']);
      }
      expect((await client.ask(MeDocument, {})).me.memberships).toEqual([]);
    });

    test('when a role is reduced: reading continues, writing is refused', async () => {
      const { sql } = fixture.database;
      const target = await addTarget();
      const { id, token } = await addUser(sql, { [fixture.orgId]: 'EDITOR' });
      const client = fixture.app.client(token);
      expect((await named('startBot').run(client, target)).errors).toBeUndefined();

      await sql`update memberships set role = 'VIEWER' where user_id = ${id}`;
      expect(await outcome(named('stopBot'), client, target, 'FORBIDDEN')).toBe('FORBIDDEN');
      expect((await named('bot').run(client, target)).errors).toBeUndefined();
    });

    test('when a membership is added: objects that were not found a moment ago are found', async () => {
      const { sql } = fixture.database;
      const target = await addTarget();
      const { id, token } = await addUser(sql);
      const client = fixture.app.client(token);
      expect((await named('bot').run(client, target)).errors?.[0]?.extensions.code).toBe('NOT_FOUND');

      await sql`insert into memberships (user_id, org_id, role) values (${id}, ${fixture.orgId}, 'VIEWER')`;
      expect(await outcome(named('bot'), client, target, 'OK')).toBe('OK');
    });

    test('when a user is removed: their token is refused', async () => {
      const { sql } = fixture.database;
      const target = await addTarget();
      const { id, token } = await addUser(sql, { [fixture.orgId]: 'OWNER' });
      const client = fixture.app.client(token);
      expect((await named('me').run(client, target)).errors).toBeUndefined();

      await sql`delete from users where id = ${id}`;
      expect(await outcome(named('me'), client, target, 'UNAUTHENTICATED')).toBe('UNAUTHENTICATED');
    });

    test('when a user is added whose token was refused before', async () => {
      const { sql } = fixture.database;
      const id = randomUUID();
      const client = fixture.app.client(await signToken(SECRET, id));
      const target = await addTarget();
      expect((await named('me').run(client, target)).errors?.[0]?.extensions.code).toBe('UNAUTHENTICATED');

      await sql`insert into users (id, email) values (${id}, 'late@example.com')`;
      expect(await outcome(named('me'), client, target, 'OK')).toBe('OK');
    });

    test('when a bot moves to another organization: it is visible there only', async () => {
      const { sql } = fixture.database;
      const target = await addTarget();
      const newcomer = clients['an owner of another organization'];
      expect((await named('bot').run(newcomer, target)).errors?.[0]?.extensions.code).toBe('NOT_FOUND');
      expect((await named('bot').run(fixture.viewer, target)).errors).toBeUndefined();

      await sql`update bots set org_id = ${foreignOrgId} where id = ${target.botId}`;
      expect(await outcome(named('bot'), newcomer, target, 'OK')).toBe('OK');
      expect(await outcome(named('bot'), fixture.viewer, target, 'NOT_FOUND')).toBe('NOT_FOUND');
      expect(await outcome(named('botDetails'), fixture.viewer, target, 'NOT_FOUND')).toBe('NOT_FOUND');
    });
  });
});
