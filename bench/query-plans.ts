import 'reflect-metadata';

import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';

import { BotPageRepository } from '../src/bots/bot-page.repository.js';
import { BotRepository } from '../src/bots/bot.repository.js';
import { migrateDatabase } from '../src/db/migrate.js';
import { BotStatsRepository } from '../src/stats/bot-stats.repository.js';
import { SEARCHES } from './data/bulk.js';
import { LARGE_ORG, loadLarge } from './data/large.js';
import { readPlanNotice, type ExplainedStatement } from './support/plan.js';
import { startServices } from './support/services.js';

/** A prepared statement may get a plan for any parameters from its sixth execution on. */
const RUNS = 8;

const AUTO_EXPLAIN = {
  session_preload_libraries: 'auto_explain',
  'auto_explain.log_min_duration': '0',
  'auto_explain.log_analyze': 'on',
  'auto_explain.log_buffers': 'on',
  'auto_explain.log_format': 'json',
  'auto_explain.log_level': 'notice',
};

/**
 * `npm run bench -- query-plans [bots]`: loads 1,000,000 bots into a scratch database and shows how PostgreSQL
 * runs the statements that the repositories send, as auto_explain logs them, with times.
 */
async function main(): Promise<void> {
  const bots = Number(process.argv[2] ?? 1_000_000);
  const services = await startServices();
  try {
    await migrateDatabase(services.postgres.url);
    const loader = postgres(services.postgres.url, { max: 1, onnotice: () => {} });
    await loadLarge(
      loader,
      { bots, otherOrganizations: 200, botsOfEachOther: Math.ceil(bots / 1_000), messages: 0 },
      (line) => console.log(`  ${line}`),
    );
    await loader.end();
    await services.restartPostgres(AUTO_EXPLAIN);
    await explainAll(services.postgres.url, bots);
  } finally {
    await services.stop();
  }
}

async function explainAll(url: string, bots: number): Promise<void> {
  let explained: ExplainedStatement[] = [];
  const sql = postgres(url, {
    max: 1,
    onnotice: ({ message }) => {
      const plan = message === undefined ? undefined : readPlanNotice(message);
      if (plan) explained.push(plan);
    },
  });
  const db = drizzle(sql);
  const [repository, pages] = [new BotRepository(db), new BotPageRepository(db)];
  const stats = new BotStatsRepository(db);
  const page =
    (number: number, search = '') =>
    async () =>
      await pages.findPages([{ orgId: LARGE_ORG, page: number, limit: 20, search }], '');
  const [first] = await page(1)();
  const ids = first?.value?.items.map(({ id }) => id) ?? [];

  const cases: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['first page and count', page(1)],
    [`deep page (offset ${bots / 2}) and count`, page(bots / 40 + 1)],
    [
      'three pages at once, one of them deep',
      async () =>
        await pages.findPages(
          [1, 2, bots / 40 + 1].map((number) => ({ orgId: LARGE_ORG, page: number, limit: 20, search: '' })),
          '',
        ),
    ],
    [
      'two searches at once',
      async () =>
        await pages.findPages(
          [SEARCHES.rare, SEARCHES.twoIdeographs].map((search) => ({
            orgId: LARGE_ORG,
            page: 1,
            limit: 20,
            search,
          })),
          '',
        ),
    ],
    [`search, rare text "${SEARCHES.rare}"`, page(1, SEARCHES.rare)],
    [`search, common text "${SEARCHES.common}"`, page(1, SEARCHES.common)],
    [`search, common text "${SEARCHES.common}", page 100`, page(100, SEARCHES.common)],
    [`search, text of every bot "${SEARCHES.everywhere}"`, page(1, SEARCHES.everywhere)],
    [`search, one letter "${SEARCHES.oneLetter}"`, page(1, SEARCHES.oneLetter)],
    [`search, two letters "${SEARCHES.twoLetters}"`, page(1, SEARCHES.twoLetters)],
    [`search, non-ASCII "${SEARCHES.nonAscii}"`, page(1, SEARCHES.nonAscii)],
    [`search, non-ASCII "${SEARCHES.twoIdeographs}"`, page(1, SEARCHES.twoIdeographs)],
    [`search, non-ASCII "${SEARCHES.afterComma}"`, page(1, SEARCHES.afterComma)],
    [`search, punctuation "${SEARCHES.punctuation}"`, page(1, SEARCHES.punctuation)],
    [`search, absent punctuation "---"`, page(1, '---')],
    [`search, absent text "${SEARCHES.absent}"`, page(1, SEARCHES.absent)],
    ['20 bots by id', async () => await repository.findMany(ids)],
    ['statistics of 20 bots', async () => await stats.findMany(ids, '')],
    [
      'all bots of the organization, 10,001 at most',
      async () => await pages.findByOrganizations([LARGE_ORG], 10_001, ''),
    ],
  ];
  for (const [name, run] of cases) {
    explained = [];
    const walls: number[] = [];
    for (let i = 0; i < RUNS; i++) {
      const startedAt = performance.now();
      await run();
      walls.push(performance.now() - startedAt);
    }
    show(name, walls, explained);
  }
  await sql.end();
}

function show(name: string, walls: readonly number[], explained: readonly ExplainedStatement[]): void {
  const last = explained.at(-1);
  const sorted = walls.toSorted((a, b) => a - b);
  console.log(
    `\n${name}: first ${walls[0]?.toFixed(1)} ms, median ${sorted[sorted.length >> 1]?.toFixed(1)} ms as the caller sees it;` +
      ` ${last?.durationMs.toFixed(1)} ms in PostgreSQL (last run, ${last?.generic === true ? 'generic' : 'custom'} plan)`,
  );
  for (const line of last?.lines ?? []) console.log(`    ${line}`);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
