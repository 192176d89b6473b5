import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import postgres from 'postgres';

import {
  cached,
  createCache,
  createLoaders,
  installCache,
  resetCache,
  tagFamily,
  type Cache,
  type CacheOptions,
  type Snapshotted,
} from '../../src/cache/index.js';
import { eventually } from '../support/eventually.js';
import { startOwnPostgres, type OwnPostgres } from '../support/own-postgres.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

/** Uses the library as another server does: only its entry point, on a database without bots. */

let database: TestDatabase;
let redis: RedisService;
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase({ migrated: false }), createRedis()]);
  await installCache(database.sql);
  await database.sql.unsafe(`create table notes (id int primary key, text text);
    insert into notes values (1, 'one'), (2, 'two'); select cache_watch('notes', $$ARRAY['note:' || id]$$)`);
});

afterAll(async () => {
  for (const close of closers.toReversed()) await close();
  await Promise.all([redis?.stop(), database?.drop()]);
});

const noteTag = tagFamily('note');
/** The cache of one process; it counts the statements of loads. */
async function openProcess(options: Partial<CacheOptions> = {}) {
  const cache = createCache({ redis: redis.url, postgres: database.url, redisTimeoutMs: 3_000, ...options });
  closers.push(async () => await cache.close());
  let loads = 0;
  const { sql } = database;
  const resources = cache.bind({
    note: cached<string>({
      key: 'note:{id}',
      tags: [noteTag],
      shape: 'string',
      ttlSeconds: 60,
      load: async (ids, since) => {
        loads++;
        return await sql<Snapshotted<string>[]>`
          select (select cache_moment(${since})) as snapshot, text as value
          from unnest(${[...ids]}::int[]) with ordinality as wanted (id, position) left join notes using (id) order by position`;
      },
    }),
  });
  await cache.start();
  return {
    cache,
    resources,
    loads: () => loads,
    read: async (id: string) => await createLoaders(resources).note.load(id),
  };
}

const rename = async (cache: Cache, id: number, text: string): Promise<void> => {
  await database.sql`update notes set text = ${text} where id = ${id}`;
  await cache.invalidate([noteTag.of(String(id))]);
};

test('a cache with two URLs alone reads from Redis, and both processes see an invalidated write', async () => {
  const [one, other] = await Promise.all([openProcess(), openProcess()]);
  expect(await one.read('1')).toBe('one');
  expect(await one.read('3')).toBeNull();
  await eventually(async () => {
    const before = other.loads();
    expect(await other.read('1')).toBe('one');
    return other.loads() === before;
  });
  await rename(one.cache, 1, 'eins');
  expect(await Promise.all([one.read('1'), other.read('1')])).toEqual(['eins', 'eins']);
});

test('without Redis every value is read from the database', async () => {
  const { cache, read } = await openProcess({ redis: undefined });
  expect(cache.state()).toBe('off');
  expect(await read('2')).toBe('two');
  await database.sql`update notes set text = 'zwei' where id = 2`;
  expect(await read('2')).toBe('zwei');
});

describe('a response', () => {
  const answer = (
    process: Awaited<ReturnType<typeof openProcess>>,
    key: string,
    finish: 'complete' | 'markUncacheable' | undefined,
  ) => {
    let made = 0;
    return {
      made: () => made,
      ask: async () =>
        (
          await process.cache.respond(key, async (dependencies) => {
            made++;
            const text = await createLoaders(process.resources, dependencies).note.load('1');
            if (finish === 'markUncacheable') dependencies.complete();
            if (finish) dependencies[finish]();
            return `text: ${text}`;
          })
        ).toString(),
    };
  };

  test('is made again after a write of something that it depends on, and not before', async () => {
    const process = await openProcess();
    const { ask, made } = answer(process, 'a', 'complete');
    await eventually(async () => {
      const before = made();
      await ask();
      return made() === before;
    });
    const before = made();
    await rename(process.cache, 1, 'uno');
    expect(await ask()).toBe('text: uno');
    expect(made()).toBe(before + 1);
  });

  test.each([undefined, 'markUncacheable' as const])(
    'that was not completed, or was marked as uncacheable, is never cached: %s',
    async (finish) => {
      const process = await openProcess();
      const { ask, made } = answer(process, 'b', finish);
      for (let i = 0; i < 5; i++) await ask();
      expect(made()).toBe(5);
    },
  );

  test('is made each time if the response cache is off', async () => {
    const process = await openProcess({ responseCacheBytes: 0 });
    const { ask, made } = answer(process, 'c', 'complete');
    for (let i = 0; i < 5; i++) await ask();
    expect(made()).toBe(5);
  });

  test('that could not be made rejects, and nothing is cached', async () => {
    const { cache } = await openProcess();
    const failing = cache.respond('d', async () => await Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    expect(String(await cache.respond('d', async () => await Promise.resolve('yes')))).toBe('yes');
  });
});

test('resetCache makes servers refuse all cached values', async () => {
  const { read, loads } = await openProcess();
  await eventually(async () => {
    const before = loads();
    await read('1');
    return loads() === before;
  });
  const before = loads();
  await resetCache(database.sql);
  await eventually(async () => {
    await read('1');
    expect(loads()).toBeGreaterThan(before);
  });
});

describe('a wrong call is refused at once, in an error without the password:', () => {
  test.each<[string, () => unknown, RegExp]>([
    [
      'no URL of Redis',
      () => createCache({ redis: 'http://:secret@host', postgres: database.url }),
      /^redis must be a URL/,
    ],
    [
      'no URL of PostgreSQL',
      () => createCache({ redis: undefined, postgres: 'mysql://:secret@host' }),
      /^postgres must be a URL/,
    ],
    ['an empty URL', () => createCache({ redis: '', postgres: database.url }), /^redis must be a URL/],
    ['an id with a colon', () => noteTag.of('1:2'), /^The id of a tag must not be empty or have a colon$/],
    ['an empty id', () => noteTag.of(''), /^The id of a tag/],
    ['an entity with a colon', () => tagFamily('a:b'), /^The entity of a tag/],
  ])('%s', (_, work, message) => {
    expect(work).toThrow(message);
    expect(work).not.toThrow(/secret/);
  });
});

describe('installing the log', () => {
  let server: OwnPostgres;

  beforeAll(async () => {
    server = await startOwnPostgres();
  }, 60_000);

  afterAll(async () => {
    await server?.stop();
  });

  test('works from many processes at once, by a role that is no superuser, and repeatedly', async () => {
    await server.sql.unsafe('create role owner login');
    await server.sql.unsafe('create database owned owner owner');
    const connections = Array.from({ length: 5 }, () =>
      postgres(server.urlFor('owner', 'owned'), { max: 1, onnotice: () => {} }),
    );
    try {
      await Promise.all(connections.map(async (sql) => await installCache(sql)));
      await Promise.all(connections.map(async (sql) => await installCache(sql)));
      const [state] =
        await (connections[0] as postgres.Sql)`select cache_log_is_own() as own, (select count(*)::int from cache_log_state) as rows`;
      expect(state).toEqual({ own: true, rows: 1 });
    } finally {
      await Promise.all(connections.map(async (sql) => await sql.end({ timeout: 1 })));
    }
  });

  test('does not change a log that is in use', async () => {
    const { sql } = database;
    const before = await sql`select epoch, pruned_below::text from cache_log_state`;
    await sql.begin(async (writer) => {
      await writer`update notes set text = 'held' where id = 2`;
      await installCache(sql);
    });
    expect(await sql`select epoch, pruned_below::text from cache_log_state`).toEqual(before);
  });
});
