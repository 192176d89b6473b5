import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { print } from 'graphql';
import { Redis } from 'ioredis';

import { BotsWithStatsDocument, UpdateBotDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

interface ReportedRead {
  readonly path: string | null;
  readonly resource: string;
  readonly key: string;
  readonly outcome: string;
  readonly missed?: string;
  readonly age?: number;
  readonly ttl: number;
  readonly tags: readonly string[];
  readonly ms?: number;
}

interface Answer {
  readonly data: unknown;
  readonly extensions?: {
    readonly cache: {
      readonly response: { readonly outcome: string; readonly reason?: string; readonly age?: number };
      readonly reads: readonly ReportedRead[];
    };
  };
}

describe('the cache report of a response', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let admin: Redis;
  let app: TestApp;
  let token: string;
  let orgId: string;
  let botIds: string[];

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    admin = new Redis(redis.url);
    orgId = await addOrganization(database.sql);
    botIds = await addBots(database.sql, orgId, 3);
    ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
    app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url });
  });

  afterAll(async () => {
    await app?.close();
    admin?.disconnect();
    await redis?.stop();
    await database?.drop();
  });

  const send = async (
    query: string,
    variables: object,
    headers: Record<string, string> = { 'x-cache-report': '1' },
    url = app.url,
  ): Promise<Answer> => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}`, ...headers },
      body: JSON.stringify({ query, variables }),
    });
    return (await response.json()) as Answer;
  };
  const PAGE = print(BotsWithStatsDocument);
  const cacheOf = ({ extensions }: Answer) => {
    if (!extensions) throw new Error('The answer has no report.');
    return extensions.cache;
  };
  const withoutTimes = ({ reads }: ReturnType<typeof cacheOf>) =>
    reads.map(({ path, resource, key, outcome, missed }) => ({ path, resource, key, outcome, missed }));
  const filled = async () => await eventually(async () => (await admin.keys('*:lock')).length === 0);

  /** What a report lists of a page with its statistics. */
  const expectedReads = (outcome: string, missed: string | undefined) => {
    const read = (path: string | null, resource: string, key: unknown) => ({
      path,
      resource,
      key,
      outcome,
      missed,
    });
    return expect.arrayContaining([
      read('bots', 'botPage', `bots:org:${orgId}:page:1:limit:20:search:`),
      ...botIds.toReversed().map((id, i) => read(`bots.items.${i}.stats`, 'botStats', `bot:${id}:stats`)),
      read(null, 'principal', expect.any(String)),
    ]) as unknown;
  };

  test('names the field, the resource, the key and the outcome of every value: loaded, then hits', async () => {
    const cold = cacheOf(await send(PAGE, { orgId }));
    expect(cold.response).toEqual({ outcome: 'miss', reason: 'absent' });
    expect(withoutTimes(cold)).toEqual(expectedReads('loaded', 'absent'));
    expect(cold.reads).toHaveLength(2 + botIds.length);
    await filled();

    const warm = cacheOf(await send(PAGE, { orgId, unused: 1 }));
    expect(withoutTimes(warm)).toEqual(expectedReads('hit', undefined));
  });

  test('tells the age, the TTL that is left and the tags of a value', async () => {
    const [id = ''] = botIds;
    const query = '{ botStats(id: "ID") { totalMessages } }'.replace('ID', id);
    await send(query, {});
    await filled();
    const before = Date.now();
    const stored = await admin.pttl(`bot:${id}:stats`);
    const { reads } = cacheOf(await send(query, { unused: 1 }));
    const read = reads.find(({ resource }) => resource === 'botStats');
    expect(read?.tags).toEqual([`bot:${id}:stats`]);
    expect(read?.ttl).toBeLessThanOrEqual(stored / 1_000 + 0.1);
    expect(read?.ttl).toBeGreaterThan(stored / 1_000 - (Date.now() - before) / 1_000 - 0.1);
    expect(read?.age).toBeGreaterThanOrEqual(0);
    // The TTL of statistics is 60 s, less a jitter of at most a tenth.
    expect((read?.age ?? 0) + (read?.ttl ?? 0)).toBeGreaterThanOrEqual(54);
    expect((read?.age ?? 0) + (read?.ttl ?? 0)).toBeLessThanOrEqual(60);
    expect(read?.ms).toBeGreaterThan(0);

    // As if it had been stored 20 s earlier.
    const envelope = (await admin.get(`bot:${id}:stats`)) ?? '';
    const older = envelope.replace(/"expires":(\d+)/, (_field, at) => `"expires":${Number(at) - 20_000}`);
    await admin.set(`bot:${id}:stats`, older, 'KEEPTTL');
    const later = cacheOf(await send(query, { unused: 2 })).reads;
    const aged = later.find(({ resource }) => resource === 'botStats');
    expect(aged?.age).toBeGreaterThanOrEqual(20 + (read?.age ?? 0));
    expect((aged?.age ?? 0) + (aged?.ttl ?? 0)).toBeCloseTo((read?.age ?? 0) + (read?.ttl ?? 0), 1);
  });

  test('tells of a cached response, and of the values it was made of', async () => {
    const { data } = await send(PAGE, { orgId }, {});
    await send(PAGE, { orgId }, {});
    const answer = await send(PAGE, { orgId });
    expect(answer.data).toEqual(data);
    const report = cacheOf(answer);
    expect(report.response).toEqual({ outcome: 'hit', age: expect.any(Number), ttl: expect.any(Number) });
    expect(new Set(report.reads.map(({ outcome }) => outcome))).toEqual(new Set(['cached response']));
    expect(report.reads.map(({ key }) => key)).toContain(`bots:org:${orgId}:page:1:limit:20:search:`);
  });

  test('tells what a change has invalidated', async () => {
    await send(PAGE, { orgId, unused: 2 }, {});
    await send(print(UpdateBotDocument), { id: botIds[0], input: { name: 'renamed' } }, {});
    const { reads } = cacheOf(await send(PAGE, { orgId, unused: 3 }));
    const page = reads.find(({ resource }) => resource === 'botPage');
    expect(page).toMatchObject({ outcome: 'loaded', missed: 'absent' });
  });

  test('tells who joined the load of another request', async () => {
    await admin.flushall();
    const answers = await Promise.all([send(PAGE, { orgId, unused: 4 }), send(PAGE, { orgId, unused: 5 })]);
    const outcomes = answers.map(
      (answer) => cacheOf(answer).reads.find(({ resource }) => resource === 'botPage')?.outcome ?? '',
    );
    expect(outcomes.toSorted()).toEqual(['joined', 'loaded']);
    await filled();
  });

  test('tells that Redis was not available', async () => {
    const alone = await startApp({ DATABASE_URL: database.url, REDIS_URL: 'off' });
    try {
      const { response, reads } = cacheOf(await send(PAGE, { orgId }, undefined, alone.url));
      expect(response).toEqual({ outcome: 'unused' });
      expect(new Set(reads.map(({ outcome, missed }) => `${outcome} ${missed}`))).toEqual(
        new Set(['loaded unavailable']),
      );
    } finally {
      await alone.close();
    }
  });

  test('is for operators alone once there is a token for them, and for nobody else in production', async () => {
    const settings = { DATABASE_URL: database.url, REDIS_URL: 'off' };
    const operatorToken = 'the-token-of-the-operators-in-this-test';
    const guarded = await startApp({ ...settings, OPERATOR_TOKEN: operatorToken });
    const production = await startApp({ ...settings, NODE_ENV: 'production' });
    try {
      const refused = { errors: [{ extensions: { code: 'FORBIDDEN' } }] };
      const ask = async (headers: Record<string, string>, url: string) =>
        await send(PAGE, { orgId }, { 'x-cache-report': '1', ...headers }, url);
      expect(await ask({}, guarded.url)).toMatchObject(refused);
      expect(await ask({ 'x-operator-token': 'another' }, guarded.url)).toMatchObject(refused);
      expect(cacheOf(await ask({ 'x-operator-token': operatorToken }, guarded.url)).reads).not.toEqual([]);
      expect(await ask({ 'x-operator-token': operatorToken }, production.url)).toMatchObject(refused);
      expect(await send(PAGE, { orgId }, {}, production.url)).toHaveProperty('data');
    } finally {
      await guarded.close();
      await production.close();
    }
  });

  test('is part of no answer that does not ask for it, and of no cached response', async () => {
    const asked = await send(PAGE, { orgId, unused: 6 });
    const plain = await send(PAGE, { orgId, unused: 6 }, {});
    expect(plain).toEqual({ data: asked.data });
  });

  test('comes with answers that have errors, whatever made them', async () => {
    const invalid = await send('{ nothing }', {});
    expect(cacheOf(invalid).reads).toEqual([]);
    const missing = await send('{ bot(id: "00000000-0000-4000-8000-0000000000ff") { id } }', {});
    expect(missing).toMatchObject({ data: { bot: null }, errors: [{ extensions: { code: 'NOT_FOUND' } }] });
    expect(cacheOf(missing).reads.map(({ path }) => path)).toContain('bot');
  });
});
