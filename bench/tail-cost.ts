import 'reflect-metadata';

import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';

import { migrateDatabase } from '../src/db/migrate.js';
import { figure, toText } from './report/table.js';
import { cpuMicroseconds } from './support/cpu.js';
import { startServices } from './support/services.js';
import type { TailReport } from './support/tail-process.js';

const WRITES_A_SECOND = 1_000;
const CONNECTIONS = 8;
const BOTS = 5_000;
/** Pause between two batches of writes (ms). */
const TICK_MS = 10;

interface Phase {
  readonly name: string;
  readonly seconds: number;
  readonly writes: number;
  readonly tail: TailReport;
  readonly tailCpuUs: number;
  readonly backendCpuUs: number;
}

/**
 * `npm run bench -- tail-cost [seconds]`: measures the cost of reading the invalidation log, for a server
 * and for PostgreSQL, during 1,000 transactions a second by SQL.
 */
async function main(): Promise<void> {
  const seconds = Number(process.argv[2] ?? 20);
  const services = await startServices();
  const { url } = services.postgres;
  const sql = postgres(url, { max: CONNECTIONS, onnotice: () => {} });
  let tail: ChildProcess | undefined;
  try {
    await migrateDatabase(url);
    const ids = await addBots(sql);
    tail = fork(fileURLToPath(new URL('support/tail-process.js', import.meta.url)), [url], {
      execArgv: ['--expose-gc'],
    });
    await once(tail, 'message');
    const phases = [
      await observe('nobody writes', tail, sql, seconds / 4, async () => {
        await sleep((seconds * 1_000) / 4);
        return 0;
      }),
      await observe('1,000 writes/s', tail, sql, seconds, async () => await write(sql, ids, seconds)),
    ];
    const [{ rows, bytes }] = await logSize(sql);
    console.log(toText(tableOf(phases)));
    for (let removed = 1; removed > 0;) {
      const [row] = await sql<[{ removed: number }]>`
        select prune_cache_invalidations(pg_snapshot_xmin(pg_current_snapshot()))::int as removed`;
      ({ removed } = row);
    }
    await sql`vacuum cache_invalidations`;
    const [after] = await logSize(sql);
    console.log(`\nThe log: ${rows} rows, ${figure(bytes / 2 ** 20)} MB with its indexes`);
    console.log(`Pruned and vacuumed: ${after.rows} rows, ${figure(after.bytes / 2 ** 20)} MB`);
  } finally {
    tail?.kill();
    await sql.end({ timeout: 5 });
    await services.stop();
  }
}

async function addBots(sql: postgres.Sql): Promise<string[]> {
  const [org] = await sql<{ id: string }[]>`
    insert into organizations (name, slug) values ('Acme', 'acme') returning id`;
  const rows = await sql<{ id: string }[]>`
    insert into bots (org_id, name) select ${org?.id ?? ''}, 'bot ' || n from generate_series(1, ${BOTS}) as n returning id`;
  return rows.map(({ id }) => id);
}

/** Writes for a time, half to bots and half to messages. Returns the number of writes. */
async function write(sql: postgres.Sql, ids: readonly string[], seconds: number): Promise<number> {
  const startedAt = performance.now();
  const pending = new Set<Promise<unknown>>();
  let writes = 0;
  for (let elapsed = 0; elapsed < seconds * 1_000; elapsed = performance.now() - startedAt) {
    for (const due = (elapsed * WRITES_A_SECOND) / 1_000; writes < due; writes++) {
      const id = ids[Math.floor(Math.random() * ids.length)] ?? '';
      const statement =
        writes % 2 === 0
          ? sql`update bots set description = ${`change ${writes}`} where id = ${id}`
          : sql`insert into messages (bot_id, conversation_id, contact_id, direction, status)
              values (${id}, 'conversation', 'contact', 'INBOUND', 'DELIVERED')`;
      const run: Promise<unknown> = statement.then(() => pending.delete(run));
      pending.add(run);
    }
    await sleep(TICK_MS);
  }
  await Promise.all(pending);
  return writes;
}

async function observe(
  name: string,
  tail: ChildProcess,
  sql: postgres.Sql,
  seconds: number,
  act: () => Promise<number>,
): Promise<Phase> {
  const [backend] = await sql<{ pid: number }[]>`
    select pid from pg_stat_activity where application_name = 'flovo-bots invalidation log'`;
  const cpu = () => ({ tail: cpuMicroseconds(tail.pid ?? 0), backend: cpuMicroseconds(backend?.pid ?? 0) });
  await ask(tail);
  const before = cpu();
  const writes = await act();
  const after = cpu();
  return {
    name,
    seconds,
    writes,
    tail: await ask(tail),
    tailCpuUs: after.tail - before.tail,
    backendCpuUs: after.backend - before.backend,
  };
}

async function ask(tail: ChildProcess): Promise<TailReport> {
  const answer = once(tail, 'message') as Promise<[TailReport]>;
  tail.send('report');
  return (await answer)[0];
}

const logSize = async (sql: postgres.Sql): Promise<[{ rows: number; bytes: number }]> =>
  await sql<[{ rows: number; bytes: number }]>`
    select count(*)::int as rows, pg_total_relation_size('cache_invalidations')::int as bytes from cache_invalidations`;

const tableOf = (phases: readonly Phase[]) => ({
  title: 'What it costs one server to read the invalidation log',
  notes: [],
  columns: [
    '',
    'writes/s',
    'polls/s',
    'rows a poll',
    'server CPU (ms/s)',
    'PostgreSQL CPU (ms/s)',
    'ms a poll',
    'slowest',
    'tags remembered',
    'heap (MB)',
  ],
  rows: phases.map(({ name, seconds, writes, tail, tailCpuUs, backendCpuUs }) => [
    name,
    figure(writes / seconds),
    figure(tail.polls / seconds),
    figure(tail.rows / Math.max(1, tail.polls)),
    figure(tailCpuUs / 1_000 / seconds),
    figure(backendCpuUs / 1_000 / seconds),
    figure(tail.pollMs / Math.max(1, tail.polls)),
    figure(tail.slowestPollMs),
    String(tail.rememberedTags),
    figure(tail.heapMegabytes),
  ]),
});

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
