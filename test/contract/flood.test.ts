import { afterAll, beforeAll, expect, test } from '@jest/globals';

import { ask } from '../support/http.js';
import { createFixture, type Fixture } from './fixture.js';

const FLOOD = 100;

let fixture: Fixture;

beforeAll(async () => {
  fixture = await createFixture();
});

afterAll(async () => {
  await fixture?.close();
});

const flood = async (path: string) =>
  await Promise.all(Array.from({ length: FLOOD }, async () => await ask(new URL(path, fixture.app.url))));

/** When the connection that checks the database began its last statement. */
const lastStatement = async () => {
  const [row] = await fixture.database.sql<{ started: string }[]>`
    select coalesce(max(query_start)::text, '') as started from pg_stat_activity
    where application_name = 'flovo-bots readiness' and datname = current_database()`;
  return row?.started ?? '';
};

test('a flood of /readyz asks PostgreSQL a few times a second, and is answered', async () => {
  const seen = new Set<string>();
  const state = { isOver: false };
  const watch = async () => {
    while (!state.isOver) seen.add(await lastStatement());
  };
  const startedAt = performance.now();
  const watching = watch();
  for (let round = 0; round < 5; round++) {
    const answers = await flood('/readyz');
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  }
  state.isOver = true;
  await watching;
  const seconds = (performance.now() - startedAt) / 1_000;
  // Ten checks a second, of three statements each.
  expect(seen.size).toBeLessThanOrEqual(3 * 10 * (seconds + 1));
}, 60_000);

test('a flood of /metrics shares texts', async () => {
  const texts = (await flood('/metrics')).map(({ text }) => text);
  // Each new text has another CPU time.
  expect(new Set(texts).size).toBeLessThan(texts.length / 2);
});
