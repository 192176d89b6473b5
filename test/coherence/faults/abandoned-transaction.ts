import { addOrganization } from '../../support/people.js';
import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import type { Fleet } from '../fleet.js';
import { PostgresHost } from '../postgres-host.js';
import type { CoherenceRun } from '../coherence-run.js';

const NOISY_BOTS = 2_000;
const WRITERS = 2;

/** A prepared transaction stays open, while others make about 1,000 writes a second. */
export const abandonedTransaction: Fault = {
  name: 'abandoned prepared transaction',
  about: 'held throughout, beside about 1,000 writes a second',
  tolerance: WITHIN_TWO_SECONDS,
  options: { database: async () => await PostgresHost.start({ max_prepared_transactions: '5' }) },
  async act(run, span) {
    const { sql, history } = run;
    const orgId = await addOrganization(sql, 'Noisy');
    await sql`insert into bots (org_id, name) select ${orgId}, 'noisy ' || n from generate_series(1, ${NOISY_BOTS}) as n`;
    const session = await sql.reserve();
    await session`begin`;
    await session`update organizations set name = 'Abandoned' where id = ${orgId}`;
    await session`prepare transaction 'abandoned'`;
    session.release();
    const before = await usageOf(run.fleet);
    const startedAt = performance.now();
    let maxEntries = 0;
    const watch = async (): Promise<void> => {
      do {
        const [row] = await sql<{ count: number }[]>`select count(*)::int as count from cache_invalidations`;
        maxEntries = Math.max(maxEntries, row?.count ?? 0);
        await span.pause(1_000);
      } while (!span.isOver);
    };
    const writes = await Promise.all([
      watch(),
      ...Array.from({ length: WRITERS }, async () => await write(run, orgId, span.leftMs)),
    ]);
    const seconds = (performance.now() - startedAt) / 1_000;
    const after = await usageOf(run.fleet);
    const total = writes.slice(1).reduce<number>((sum, count) => sum + (count ?? 0), 0);
    const cpu = ((after.cpuSeconds - before.cpuSeconds) / seconds / run.fleet.berths.length) * 100;
    history.findings.notes.push(
      `${(total / seconds).toFixed(0)} other writes a second, at most ${maxEntries} entries in the log`,
      `a server: ${cpu.toFixed(0)}% of a processor, ${(before.megabytes / run.fleet.berths.length).toFixed(0)} MB before, ` +
        `${(after.megabytes / run.fleet.berths.length).toFixed(0)} MB after`,
    );
    await sql`commit prepared 'abandoned'`;
    await span.pause(2_001);
  },
};

/** Updates random bots, one per transaction. Returns the number of updates of one writer. */
async function write({ sql }: CoherenceRun, orgId: string, ms: number): Promise<number> {
  const [before] = await sql<
    { sum: number }[]
  >`select sum(version)::int as sum from bots where org_id = ${orgId}`;
  await sql.unsafe(`
    do $$
    declare
      ids uuid[] := array(select id from bots where org_id = '${orgId}');
      ends_at timestamptz := clock_timestamp() + interval '${Math.round(ms)} ms';
    begin
      while clock_timestamp() < ends_at loop
        update bots set description = md5(random()::text) where id = ids[1 + floor(random() * ${NOISY_BOTS})::int];
        commit;
        perform pg_sleep(0.001);
      end loop;
    end $$`);
  const [after] = await sql<
    { sum: number }[]
  >`select sum(version)::int as sum from bots where org_id = ${orgId}`;
  // The versions count the updates of all writers.
  return ((after?.sum ?? 0) - (before?.sum ?? 0)) / WRITERS;
}

/** The usage of all servers, summed. */
async function usageOf(fleet: Fleet): Promise<{ cpuSeconds: number; megabytes: number }> {
  let [cpuSeconds, megabytes] = [0, 0];
  for (const { server } of fleet.berths) {
    const text = await (await fetch(new URL('/metrics', server.process.url))).text();
    cpuSeconds += Number(/^process_cpu_seconds_total ([\d.e+]+)/m.exec(text)?.[1] ?? 0);
    megabytes += Number(/^process_resident_memory_bytes ([\d.e+]+)/m.exec(text)?.[1] ?? 0) / 1e6;
  }
  return { cpuSeconds, megabytes };
}
