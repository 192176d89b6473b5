import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { BotDetailsDocument, UpdateBotDocument } from '../generated/graphql.js';
import { createFixture, type Fixture } from '../contract/fixture.js';
import { eventually } from '../support/eventually.js';
import { addBots } from '../support/people.js';

describe('a server that compares all of its hits with PostgreSQL', () => {
  let fixture: Fixture;
  let id: string;

  beforeAll(async () => {
    fixture = await createFixture({ SHADOW_PERCENT: '100', RESPONSE_CACHE: 'off' });
    [id = ''] = await addBots(fixture.database.sql, fixture.orgId, 1);
  });

  afterAll(async () => {
    await fixture?.close();
  });

  const results = async (result: string) =>
    await fixture.app.metric('flovo_cache_shadow_values_total', { result });

  test('finds nothing while values are written and read', async () => {
    for (let n = 0; n < 100; n++) {
      await fixture.editor.ask(UpdateBotDocument, { id, input: { description: `${n}` } });
      for (let read = 0; read < 3; read++) await fixture.owner.ask(BotDetailsDocument, { id });
    }
    await eventually(async () => (await results('compared')) > 20);
    expect([await results('stale'), await results('corrupt'), await results('orphaned')]).toEqual([0, 0, 0]);
  });

  test('counts and logs a hit that PostgreSQL does not have', async () => {
    const { database, owner, app } = fixture;
    // From here on, the log does not know of changes.
    await database.sql`alter table bots disable trigger user`;
    const description = async () => (await owner.ask(BotDetailsDocument, { id })).botDetails?.bot.description;
    const compared = await results('compared');
    // Once a value is a hit, it was stored after the server had learned of the change of the table.
    await eventually(async () => {
      await description();
      return (await results('compared')) > compared + 5;
    });
    await database.sql`update bots set description = 'unlogged' where id = ${id}`;
    await eventually(async () => {
      await description();
      return (await results('stale')) > 0;
    });
    const entry = app.logs.find(({ msg }) => msg === 'A cached value differs from PostgreSQL');
    expect(entry).toMatchObject({ problem: 'stale', key: `bot:${id}:details`, resource: 'botDetails' });
    await database.sql`alter table bots enable trigger user`;
  });
});
