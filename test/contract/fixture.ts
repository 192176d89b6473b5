import { Redis } from 'ioredis';

import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

/** A server with its own services, and an organization with a user in each role. */
export interface Fixture {
  readonly database: TestDatabase;
  readonly redis: RedisService;
  /** A connection to the server's Redis, to inspect its keys. */
  readonly admin: Redis;
  readonly app: TestApp;
  readonly orgId: string;
  readonly owner: Client;
  readonly editor: Client;
  readonly viewer: Client;
  close(): Promise<void>;
}

export async function createFixture(settings: Record<string, string> = {}): Promise<Fixture> {
  const [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  const admin = new Redis(redis.url);
  const app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url, ...settings });
  const orgId = await addOrganization(database.sql);
  const [owner, editor, viewer] = await Promise.all(
    (['OWNER', 'EDITOR', 'VIEWER'] as const).map(async (role) => {
      const { token } = await addUser(database.sql, { [orgId]: role });
      return app.client(token);
    }),
  );
  return {
    database,
    redis,
    admin,
    app,
    orgId,
    owner: owner as Client,
    editor: editor as Client,
    viewer: viewer as Client,
    async close() {
      await app.close();
      admin.disconnect();
      await redis.stop();
      await database.drop();
    },
  };
}

/** The contract's limit for a write by SQL to become visible. */
const MAX_STALENESS_MS = 2_000;

/** Repeats a request until its answer is as expected, or the limit has passed. @returns the last answer */
export async function askUntil<Answer>(
  ask: () => Promise<Answer>,
  isRight: (answer: Answer) => boolean,
  withinMs = MAX_STALENESS_MS,
): Promise<Answer> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    // The deadline is checked before each request, so that a slow answer does not count as a late one.
    const inTime = performance.now() < deadline;
    const answer = await ask();
    if (isRight(answer) || !inTime) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
