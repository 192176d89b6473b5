import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHook } from 'node:async_hooks';
import { Agent, request } from 'node:http';
import { print } from 'graphql';

import { BotDetailsDocument, BotStatsDocument, BotsWithStatsDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

/** Enough that at least one of them does not coincide with a poll of the invalidation log. */
const TIMES = 40;

/**
 * The cost of an operation in this process, measured without a clock by the promises it creates. They stand for turns of the
 * microtask queue and closures, on which a cached read spends its time.
 */
describe('the number of promises of an operation', () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let database: TestDatabase;
  let redis: RedisService;
  let app: TestApp;
  let token: string;
  let orgId: string;
  let botId: string;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    orgId = await addOrganization(database.sql);
    [botId] = (await addBots(database.sql, orgId, 20)) as [string];
    ({ token } = await addUser(database.sql, { [orgId]: 'VIEWER' }));
    app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url });
  });

  afterAll(async () => {
    agent.destroy();
    await app?.close();
    await redis?.stop();
    await database?.drop();
  });

  /** Sends a request with callbacks alone, so that all promises in between are the server's. */
  const send = (query: string, variables: object, done: (status: number) => void): void => {
    const sent = request(
      app.url,
      {
        method: 'POST',
        agent,
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      },
      (response) => {
        response.resume().once('end', () => done(response.statusCode ?? 0));
      },
    );
    sent.end(JSON.stringify({ query, variables }));
  };

  let made = 0;
  const counter = createHook({
    init(_id, type) {
      if (type === 'PROMISE') made++;
    },
  });

  /** The fewest promises of many requests: what else the process does can only add to them. */
  const fewest = async (query: string, variablesOf: (i: number) => object): Promise<number> =>
    await new Promise((resolve, reject) => {
      let least = Infinity;
      const next = (i: number): void => {
        if (i === TIMES) {
          resolve(least);
          return;
        }
        made = 0;
        counter.enable();
        send(query, variablesOf(i), (status) => {
          counter.disable();
          if (status !== 200) reject(new Error(`Status ${status}`));
          least = Math.min(least, made);
          setImmediate(next, i + 1);
        });
      };
      next(0);
    });

  // A little above the measured numbers, because those of Node and the driver may change.
  const operations = [
    {
      name: 'botStats',
      document: BotStatsDocument,
      variables: () => ({ id: botId }),
      response: 34,
      values: 130,
    },
    {
      name: 'botDetails',
      document: BotDetailsDocument,
      variables: () => ({ id: botId }),
      response: 34,
      values: 110,
    },
    {
      name: 'bots with statistics',
      document: BotsWithStatsDocument,
      variables: () => ({ orgId }),
      response: 34,
      values: 170,
    },
  ] as const;

  test.each(operations)(
    '$name: creates at most $response promises for a cached response and $values for cached values',
    async ({ document, variables, response, values }) => {
      const text = print(document);
      const counts = {
        response: await fewest(text, variables),
        // An undeclared variable changes only the cache key of the response.
        values: await fewest(text, (i) => ({ ...variables(), unused: i })),
      };
      expect(counts.response).toBeLessThanOrEqual(response);
      expect(counts.values).toBeLessThanOrEqual(values);
    },
  );
});
