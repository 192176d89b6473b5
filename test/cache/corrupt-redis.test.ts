import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';

import { Choices, choiceLists } from '../execution/choices.js';
import * as fc from 'fast-check';
import { CreateBotDocument, RecordMessagesDocument, UpdateBotDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

/** The number of times that keys are changed at random; `CORRUPTION_SEED=…` makes the changes of an earlier run. */
const RUNS = Number(process.env.CORRUPTION_RUNS ?? 60);
const SEED = Number(process.env.CORRUPTION_SEED ?? Date.now() % 1_000_000_000);
const TIMEOUT_MS = 60_000 + RUNS * 2_000;

interface Member {
  readonly orgId: string;
  readonly ids: readonly string[];
  readonly token: string;
}

/** All reads of the schema, but the times at which values were computed: those differ between two servers. */
const READ = `query ($org: ID!, $a: ID!, $b: ID!) {
  me { id email name memberships { role organization { id name slug } } }
  organization(id: $org) { id name bots { id name version } stats { id bots runningBots totalMessages failedMessages lastMessageAt } }
  one: bots(orgId: $org, limit: 2) { total items { id name description stats { totalMessages } } }
  two: bots(orgId: $org, limit: 2, page: 2) { total items { id name status } }
  found: bots(orgId: $org, search: "bot 3") { total items { id } }
  a: bot(id: $a) { id orgId name description status version createdAt updatedAt startedAt organization { id name }
    messages(first: 2) { nodes { id botId text status } pageInfo { hasNextPage endCursor } } }
  details: botDetails(id: $b) { bot { id orgId name } stats { botId totalMessages inboundMessages successRate } }
  stats: botStats(id: $b) { id totalMessages totalConversations averageResponseTimeMs lastMessageAt }
}`;

/** Keys that hold no value: whoever copies one of them to another place can make old values current. */
const isGeneration = (key: string): boolean => key.endsWith(':gen');

/** The parts of a key that say whose it is. */
const ownersOf = (key: string): string => (key.match(/[0-9a-f-]{36}|[0-9a-f]{64}/g) ?? []).join(' ');

describe('a Redis in which somebody else has written', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let admin: Redis;
  let app: TestApp;
  let plain: TestApp;
  let members: readonly Member[];

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    admin = new Redis(redis.url);
    app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url });
    plain = await startApp({ DATABASE_URL: database.url });
    members = await Promise.all(
      ['Acme', 'Globex'].map(async (name) => {
        const orgId = await addOrganization(database.sql, name);
        const ids = await addBots(database.sql, orgId, 5);
        await database.sql`insert into messages (bot_id, conversation_id, contact_id, direction, text)
          select id::uuid, 'c', 'p', 'OUTBOUND', ${name} || n from unnest(${ids}::text[]) as id, generate_series(1, 3) as n`;
        const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
        return { orgId, ids, token };
      }),
    );
  });

  afterAll(async () => {
    await app?.close();
    await plain?.close();
    admin?.disconnect();
    await redis?.stop();
    await database?.drop();
  });

  /** Every member's reads of both organizations. */
  const answersOf = async (server: TestApp): Promise<unknown[]> =>
    await Promise.all(
      members.flatMap(({ token }) =>
        members.map(async ({ orgId, ids: [a, b] }) => {
          const { status, data, errors } = await server.client(token).sendText(READ, { org: orgId, a, b });
          const failures = errors?.map(({ path, message, extensions }) => ({ path, message, extensions }));
          return {
            status,
            data,
            failures: failures?.map((each) => JSON.stringify(each)).sort(),
          };
        }),
      ),
    );

  const expectRightAnswers = async (what: string): Promise<void> => {
    const [given, right] = [await answersOf(app), await answersOf(plain)];
    if (JSON.stringify(given) !== JSON.stringify(right))
      expect({ what, given }).toEqual({ what, given: right });
  };

  /** Reads until the cache answers everything. */
  const warm = async (): Promise<void> => {
    await eventually(async () => {
      app.statements.length = 0;
      await answersOf(app);
      return app.statements.length === 0;
    });
  };

  /** Changes what is stored under a key. Returns what was done. */
  async function corrupt(key: string, keys: readonly string[], choices: Choices): Promise<string> {
    const raw = (await admin.type(key)) === 'string' ? ((await admin.get(key)) ?? '') : '';
    const change = choices.pick([truncate, otherType, swap, otherHead, plant, flip]);
    await change(key, raw, keys, choices);
    return `${change.name} ${key}`;
  }

  async function truncate(
    key: string,
    raw: string,
    _keys: readonly string[],
    choices: Choices,
  ): Promise<void> {
    await admin.set(key, raw.slice(0, choices.below(Math.max(1, raw.length))));
  }

  async function otherType(
    key: string,
    raw: string,
    _keys: readonly string[],
    choices: Choices,
  ): Promise<void> {
    await admin.del(key);
    const member = raw === '' ? 'x' : raw;
    await choices.pick([
      async () => await admin.rpush(key, member),
      async () => await admin.hset(key, 'data', member),
      async () => await admin.sadd(key, member),
      async () => await admin.zadd(key, 1, member),
      async () => await admin.xadd(key, '*', 'data', member),
      async () => await admin.set(key, member),
    ])();
  }

  /** Another owner's value, or one of another kind: the generations, or the shape, tell them apart. */
  async function swap(key: string, _raw: string, keys: readonly string[], choices: Choices): Promise<void> {
    if (isGeneration(key)) return void (await admin.set(key, randomUUID()));
    const others = keys.filter((other) => !isGeneration(other) && ownersOf(other) !== ownersOf(key));
    const other = choices.pick(others);
    if ((await admin.type(other)) === 'string') await admin.set(key, (await admin.get(other)) ?? '');
    else await admin.copy(other, key, 'REPLACE');
  }

  async function otherHead(
    key: string,
    raw: string,
    _keys: readonly string[],
    choices: Choices,
  ): Promise<void> {
    const [from, to] = choices.pick<readonly [RegExp, string]>([
      [/"shape":"\w+"/, '"shape":"00000000"'],
      [/,"shape":"\w+"/, ''],
      [/"gen":"[^"]*"/, `"gen":"${randomUUID()}"`],
      [/"gen":"/, '"generation":"'],
      [/"snapshot":"[^"]*"/, '"snapshot":"nonsense"'],
      [/"snapshot":"[^"]*"/, '"snapshot":""'],
      [/"expires":\d+/, '"expires":1e999'],
      [/"expires":\d+/, '"expires":-1'],
      [/"version":\d+/, '"version":"new"'],
      [/,"data":/, ',"value":'],
    ]);
    await admin.set(key, raw.replace(from, to), 'KEEPTTL');
  }

  async function plant(key: string, _raw: string, _keys: readonly string[], choices: Choices): Promise<void> {
    const { orgId, ids } = members[choices.below(2)] as Member;
    const data = JSON.stringify({
      id: ids[0],
      orgId,
      name: 'planted',
      memberships: [{ orgId, role: 'OWNER' }],
    });
    await admin.set(
      key,
      choices.pick<string | Buffer>([
        '',
        'null',
        '{}',
        '[]',
        '"x"',
        data,
        `{"gen":"planted","snapshot":"1:9999999999999:@","expires":9999999999999,"version":9,"shape":"x","data":${data}}`,
        `{"gen":"","snapshot":"","expires":0,"version":0,"data":${'['.repeat(100_000)}`,
        'x'.repeat(600_000),
        randomBytes(300),
        '<9007199254740991',
        ':1,2,3@',
        'PONG\r\n$-1\r\n',
      ]),
    );
  }

  /** Another character before the data. What of the data is changed nobody can see. */
  async function flip(key: string, raw: string, _keys: readonly string[], choices: Choices): Promise<void> {
    const end = raw.includes(',"data":') ? raw.indexOf(',"data":') : raw.length;
    const at = choices.below(Math.max(1, end));
    await admin.set(
      key,
      raw.slice(0, at) + choices.pick(['x', '"', '\u0000', ':', '.', '9', '{']) + raw.slice(at + 1),
    );
  }

  /** Changes that must be visible at once. */
  async function write(choices: Choices): Promise<void> {
    const { orgId, ids, token } = members[choices.below(2)] as Member;
    const id = choices.pick(ids);
    const client = app.client(token);
    const message = {
      conversationId: `c${choices.below(3)}`,
      contactId: 'p',
      direction: 'INBOUND',
      status: 'DELIVERED',
      text: 'new',
    } as const;
    const { errors } = await choices.pick<() => Promise<{ errors?: unknown }>>([
      async () =>
        await client.send(UpdateBotDocument, { id, input: { description: `d${choices.below(1_000)}` } }),
      async () => await client.send(RecordMessagesDocument, { botId: id, messages: [message] }),
      async () =>
        await client.send(CreateBotDocument, { input: { orgId, name: `bot 3 ${choices.below(1_000)}` } }),
    ])();
    expect(errors).toBeUndefined();
  }

  test(
    `answers as without it, whatever was changed, and is repaired by that (seed ${SEED})`,
    async () => {
      const cases = fc.sample(choiceLists(120), { seed: SEED, numRuns: RUNS });
      for (const [n, list] of cases.entries()) {
        const choices = new Choices(list);
        await warm();
        const keys = (await admin.keys('*')).toSorted();
        const count = choices.weighted([[5, 1], [3, 5], [1, 30], [1, keys.length]]); // prettier-ignore
        const changes: string[] = [];
        for (let i = 0; i < count; i++) changes.push(await corrupt(choices.pick(keys), keys, choices));
        const what = `case ${n} of seed ${SEED}: ${changes.join(', ').slice(0, 2_000)}`;
        await expectRightAnswers(what);
        for (let i = choices.below(3); i > 0; i--) {
          await write(choices);
          await expectRightAnswers(`${what}, after a write`);
        }
      }
      await warm();
      expect(app.logs.filter(({ level }) => Number(level) >= 50)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test('replaces keys of another type: values, generations, indexes, locks and lists', async () => {
    await warm();
    const { orgId, ids } = members[0] as Member;
    const keys = [
      ...(await admin.keys('*')),
      ...ids.map((id) => `bot:${id}:lock`),
      `user:${orgId}:lock`,
      `org:${orgId}:index`,
      'everything:all:gen',
    ];
    for (const key of keys) {
      await admin.del(key);
      await admin.rpush(key, 'x');
    }
    await expectRightAnswers('all keys are lists');
    await write(new Choices([]));
    await expectRightAnswers('all keys are lists, after a write');
    await warm();
    expect(await admin.type(`org:${orgId}:index`)).toBe('zset');
    expect(app.logs.filter(({ msg }) => msg === 'Redis refused a cache operation')).toEqual([]);
  });

  test('replaces generations that envelopes cannot contain', async () => {
    await warm();
    const generations = (await admin.keys('*')).filter(isGeneration);
    expect(generations.length).toBeGreaterThan(10);
    for (const key of generations) await admin.set(key, '"');
    await expectRightAnswers('a quotation mark in each generation');
    await warm();
    for (const { orgId } of members) expect(await admin.get(`org:${orgId}:gen`)).not.toBe('"');
  });

  test('and a server that starts on it is ready, though the list of what is read most is not one of its own', async () => {
    await admin.del('most-read:all');
    const { orgId } = members[0] as Member;
    for (const key of [
      `bots:org:${orgId}:page:1:limit:20:search:%E0%A4%A`,
      'bots:org:x:page:-1:limit:1e9:search:',
      `bot:${orgId}:messages:first:9:after:x.y:conversation:%:direction::status:`,
      'bot:x',
      '\u0000',
    ])
      await admin.zadd('most-read:all', 9_999_999, key);
    const other = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url, WARM_ON_START: 'on' });
    try {
      expect(await answersOf(other)).toEqual(await answersOf(plain));
    } finally {
      await other.close();
    }
  });
});
