import path from 'node:path';
import { afterEach, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';

import { eventually } from '../support/eventually.js';
import { createRedisFolder } from '../support/services.js';
import { buildExample, startExample, startFleet, type Fleet } from './library-fleet.js';
import { LoansHistory } from './loans-history.js';

/** Another server on the cache, as its engineers would write it: `examples/any-server`. */

/** Longer than writes by SQL may take to become visible. */
const RUN_SECONDS = Number(process.env.EXAMPLE_SECONDS ?? 6);
/** A check of a mutant ends with the first stale value. */
const MUTANT_SECONDS = 40;

let fleet: Fleet | undefined;

beforeAll(async () => {
  await buildExample();
}, 120_000);

afterEach(async () => {
  await fleet?.stop();
  fleet = undefined;
});

test('two processes show every answered mutation at once, and every write by SQL within the bound', async () => {
  fleet = await startFleet();
  const report = await new LoansHistory(fleet).run(RUN_SECONDS);
  console.info(report);
  expect(report).toMatchObject({ stale: 0, firstStale: undefined });
  expect(report.observations).toBeGreaterThan(500);
  expect(Math.min(report.mutations, report.sqlWrites)).toBeGreaterThan(10);
}, 60_000);

/** How many of twenty mutations another process did not show at once. Nothing else teaches it of the writes meanwhile. */
async function unseenMutations({ servers: [writer, reader] }: Fleet): Promise<number> {
  const read = async () =>
    await reader.ask<{ book: { loans: number } }>('{ book(id: 1) { loans } }').then(({ book }) => book.loans);
  let unseen = 0;
  for (let lent = 1; lent <= 20; lent++) {
    await read();
    await writer.ask('mutation { lend(bookId: 1) { loans } }');
    if ((await read()) < lent) unseen++;
  }
  return unseen;
}

test('another process shows each mutation at once, and would not without its invalidation', async () => {
  fleet = await startFleet();
  expect(await unseenMutations(fleet)).toBe(0);
  await fleet.stop();
  const mutant = path.resolve('test/examples/without-invalidation.mjs');
  fleet = await startFleet({ NODE_OPTIONS: `--import ${mutant}` });
  expect(await unseenMutations(fleet)).toBeGreaterThan(0);
}, 60_000);

test('the check finds an example whose tables are not watched', async () => {
  fleet = await startFleet();
  await fleet.database.sql`select cache_unwatch('books')`;
  const { stale } = await new LoansHistory(fleet).run(MUTANT_SECONDS, true);
  expect(stale).toBeGreaterThan(0);
}, 60_000);

test('a cached response is reused after one check of its generations, and not after a write by SQL', async () => {
  fleet = await startFleet();
  const [server] = fleet.servers;
  const query = '{ shelf(id: 2) { name books { title loans shelf { name } } } }';
  const cold = await server.ask<{ shelf: { books: { loans: number }[] } }>(query);
  expect(cold).toEqual({
    shelf: { name: 'Travel', books: [{ title: 'Sea and Sardinia', loans: 0, shelf: { name: 'Travel' } }] },
  });
  const admin = new Redis(fleet.redis.url);
  const monitor = await admin.monitor();
  try {
    const keys = new Set<string>();
    monitor.on('monitor', (_time: string, args: string[]) => {
      for (const arg of args) if (arg.startsWith('library:')) keys.add(arg);
    });
    await eventually(async () => {
      keys.clear();
      expect(await server.ask(query)).toEqual(cold);
      await eventually(() => keys.size > 0);
      // Every check also reads what changed everything.
      expect([...keys].toSorted()).toEqual(['library:everything:all:gen', 'library:shelf:2:gen']);
    });
  } finally {
    monitor.disconnect();
    admin.disconnect();
  }
  await fleet.database.sql`update books set loans = 7 where id = 3`;
  await eventually(async () => (await server.ask<typeof cold>(query)).shelf.books[0]?.loans === 7);
});

test('the command of its README starts it, and SIGTERM ends it', async () => {
  fleet = await startFleet();
  const started = await startExample(
    { ...fleet.environment, DATA_DIR: await createRedisFolder() },
    'start.mjs',
  );
  expect(await started.ask('{ book(id: 1) { title } nobody: book(id: 99) { title } }')).toEqual({
    book: { title: 'Sonnets' },
    nobody: null,
  });
  expect(await started.stop()).toBe(0);
}, 60_000);
