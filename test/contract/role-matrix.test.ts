import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  buildSchema,
  getNamedType,
  isCompositeType,
  isObjectType,
  TypeInfo,
  visit,
  visitWithTypeInfo,
  type DocumentNode,
} from 'graphql';

import { signToken } from '../../src/auth/sign-token.js';
import { startApp, type TestApp } from '../support/app.js';
import { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addOrganization, addUser, SECRET } from '../support/people.js';
import { createFixture, type Fixture } from './fixture.js';
import {
  expectedOutcome,
  MUTATIONS,
  OPERATIONS,
  QUERIES,
  type Answer,
  type Caller,
  type Operation,
  type Target,
} from './role-operations.js';

const CALLERS = [
  'OWNER',
  'EDITOR',
  'VIEWER',
  'an owner of another organization',
  'a user without a membership',
  'nobody (no token)',
  'a token of an unknown user',
] as const satisfies readonly Caller[];
type MatrixCaller = (typeof CALLERS)[number];

/** Reads of what writes depend on: the caller's memberships, and the bot with its statistics. */
const USED_BY_WRITES = QUERIES.filter(({ name }) => ['me', 'bot', 'botStats'].includes(name));

const schema = buildSchema(readFileSync(path.join(process.cwd(), 'schema/schema.graphql'), 'utf8'));

describe('the table of operations', () => {
  test.each([
    ['query', schema.getQueryType(), QUERIES],
    ['mutation', schema.getMutationType(), MUTATIONS],
    ['subscription', schema.getSubscriptionType(), []],
  ] as const)('says who may use each field of the %s', (_kind, type, operations) => {
    const described = new Set(operations.map(({ field }) => field));
    expect([...described].toSorted()).toEqual(Object.keys(type?.getFields() ?? {}).toSorted());
  });

  test('reads each field that leads to other objects', async () => {
    const read = new Set<string>();
    const client = new (class extends Client {
      override async send(document: DocumentNode): Promise<never> {
        const info = new TypeInfo(schema);
        const noteField = {
          Field: () => void read.add(`${info.getParentType()?.name}.${info.getFieldDef()?.name}`),
        };
        visit(document, visitWithTypeInfo(info, noteField));
        return await Promise.reject(new Error('Not sent'));
      }
    })('', undefined);
    const target = { orgId: '', botId: '', messageId: '' };
    for (const { run } of OPERATIONS) await run(client, target).catch(() => undefined);
    const missing = Object.values(schema.getTypeMap())
      .filter((type) => isObjectType(type) && !type.name.startsWith('__'))
      .flatMap((type) =>
        Object.values(isObjectType(type) ? type.getFields() : {})
          .filter((field) => field.args.length > 0 || isCompositeType(getNamedType(field.type)))
          .map(({ name }) => `${type.name}.${name}`),
      )
      .filter((field) => !read.has(field));
    expect(missing).toEqual([]);
  });
});

describe('answers differ only where the roles say so', () => {
  let fixture: Fixture;
  /** A server without a cache on the same database. */
  let uncached: TestApp;
  let tokens: Record<MatrixCaller, string | undefined>;
  let target: Target;

  beforeAll(async () => {
    fixture = await createFixture();
    const { sql, url } = fixture.database;
    uncached = await startApp({ DATABASE_URL: url });
    tokens = {
      OWNER: fixture.owner.token,
      EDITOR: fixture.editor.token,
      VIEWER: fixture.viewer.token,
      'an owner of another organization': (await addUser(sql, { [await addOrganization(sql)]: 'OWNER' }))
        .token,
      'a user without a membership': (await addUser(sql)).token,
      'nobody (no token)': undefined,
      'a token of an unknown user': await signToken(SECRET, randomUUID()),
    };
    target = await addTarget();
  });

  afterAll(async () => {
    fixture?.redis.signal('SIGCONT');
    await uncached?.close();
    await fixture?.close();
  });

  /** A bot with one message. */
  async function addTarget(): Promise<Target> {
    const { orgId, database } = fixture;
    const [bot] = await database.sql<[{ id: string }]>`
      insert into bots (org_id, name) values (${orgId}, 'target') returning id`;
    const [message] = await database.sql<[{ id: string }]>`
      insert into messages (bot_id, conversation_id, contact_id, direction, text)
      values (${bot.id}, 'conversation', 'contact', 'OUTBOUND', 'Hello') returning id`;
    return { orgId, botId: bot.id, messageId: message.id };
  }

  const clientOf = (app: TestApp, caller: MatrixCaller): Client => app.client(tokens[caller]);

  const readAll = async (callers: readonly MatrixCaller[], on: Target, queries = QUERIES): Promise<void> => {
    // The second time the cache has everything.
    for (let time = 0; time < 2; time++) {
      await Promise.all(
        callers.flatMap((caller) =>
          queries.map(async ({ run }) => await run(clientOf(fixture.app, caller), on)),
        ),
      );
    }
  };

  interface State {
    readonly name: string;
    readonly app: () => TestApp;
    /** Called once. */
    readonly begin?: () => Promise<void>;
    /** Called before each operation. */
    readonly prepare?: (caller: MatrixCaller, on: Target, queries?: readonly Operation[]) => Promise<void>;
  }
  const cached = () => fixture.app;
  const STATES: readonly State[] = [
    { name: 'without a cache', app: () => uncached },
    {
      name: 'with an empty cache',
      app: cached,
      prepare: async () => void (await fixture.admin.flushall()),
    },
    {
      name: 'after the caller has read it',
      app: cached,
      prepare: async (caller, on, queries) => await readAll([caller], on, queries),
    },
    {
      name: 'after every other caller has read it',
      app: cached,
      prepare: async (caller, on, queries) =>
        await readAll(
          CALLERS.filter((other) => other !== caller),
          on,
          queries,
        ),
    },
    {
      name: 'while Redis is frozen, after everybody has read everything',
      app: cached,
      begin: async () => {
        await readAll(CALLERS, target);
        fixture.redis.signal('SIGSTOP');
      },
    },
  ];

  /** An answer without the times at which values were computed. */
  const comparable = ({ status, data, errors }: Answer): unknown =>
    JSON.parse(JSON.stringify({ status, data, errors }), (key, value: unknown) =>
      key === 'computedAt' ? 'now' : value,
    );

  describe.each(STATES)('$name', ({ app, begin, prepare }) => {
    beforeAll(async () => {
      // Both servers have seen what was written before, by each other and by SQL.
      await eventually(async () => {
        const [one, other] = await Promise.all(
          [fixture.app, uncached].map(async (each) => {
            const answers = await Promise.all(
              QUERIES.map(async ({ run }) => comparable(await run(clientOf(each, 'OWNER'), target))),
            );
            return JSON.stringify(answers);
          }),
        );
        return one === other;
      });
      await begin?.();
    });

    const outcomeOf = ({ data, errors }: Answer): object => ({
      codes: errors?.map(({ extensions }) => extensions.code) ?? ['OK'],
      values: Object.values(data ?? {}),
    });

    const rightOutcome = (caller: MatrixCaller, operation: Operation): object => {
      const outcome = expectedOutcome(caller, operation);
      const refused = operation.nullable ? [null] : [];
      return { codes: [outcome], values: outcome === 'OK' ? [expect.anything()] : refused };
    };

    test.each(QUERIES)('$name', async (operation) => {
      for (const caller of CALLERS) {
        await prepare?.(caller, target, [operation]);
        const answer = await operation.run(clientOf(app(), caller), target);
        expect(outcomeOf(answer)).toEqual(rightOutcome(caller, operation));
        expect(comparable(answer)).toEqual(
          comparable(await operation.run(clientOf(uncached, caller), target)),
        );
      }
    });

    test.each(MUTATIONS)('$name', async (operation) => {
      for (const caller of CALLERS) {
        const on = await addTarget();
        await prepare?.(caller, on, USED_BY_WRITES);
        const answer = await operation.run(clientOf(app(), caller), on);
        expect(outcomeOf(answer)).toEqual(rightOutcome(caller, operation));
      }
    });
  });
});
