import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';

import { createFixture, type Fixture } from '../contract/fixture.js';
import { BotDocument } from '../generated/graphql.js';
import { eventually } from '../support/eventually.js';
import { addBots } from '../support/people.js';

/** Enough values in a minute for a decision. */
const BOTS_A_MINUTE = 1_000;
const AFTERWARDS = 400;

let fixture: Fixture;
let botIds: string[];

beforeAll(async () => {
  fixture = await createFixture({ RESPONSE_CACHE: 'off' });
  botIds = await addBots(fixture.database.sql, fixture.orgId, 2 * BOTS_A_MINUTE + AFTERWARDS + 2);
});

afterAll(async () => {
  jest.restoreAllMocks();
  await fixture?.close();
});

test('a server stops storing values that nobody reads again, and goes on with a sample', async () => {
  const now = performance.now.bind(performance);
  let skippedMs = 0;
  jest.spyOn(performance, 'now').mockImplementation(() => now() + skippedMs);
  const { admin, app, owner } = fixture;
  const ids = botIds.values();
  const readBots = async (count: number) => {
    for (let read = 0; read < count; read += 50)
      await Promise.all(
        Array.from({ length: Math.min(50, count - read) }, async () => {
          await owner.ask(BotDocument, { id: ids.next().value ?? '' });
        }),
      );
    await eventually(async () => (await admin.keys('*:lock')).length === 0);
  };
  const stored = async () => (await admin.keys('bot:????????-????-????-????-????????????')).length;
  const decision = async () => await app.metric('flovo_cache_policy', { resource: 'bot', decision: 'store' });

  for (let minute = 0; minute < 2; minute++) {
    await readBots(BOTS_A_MINUTE);
    expect(await decision()).toBe(1);
    skippedMs += 60_001;
    await eventually(() =>
      app.app.readiness().then(({ invalidationLogAgeMs }) => (invalidationLogAgeMs ?? Infinity) < 2_000),
    );
    // The next load decides.
    await readBots(1);
  }
  expect(await decision()).toBe(0);
  const before = await stored();
  await readBots(AFTERWARDS);
  const share = ((await stored()) - before) / AFTERWARDS;
  expect(share).toBeGreaterThan(0.05);
  expect(share).toBeLessThan(0.25);
}, 120_000);
