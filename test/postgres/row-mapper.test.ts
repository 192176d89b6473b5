import { expect, test } from '@jest/globals';
import { eq, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import * as drizzleUtils from 'drizzle-orm/utils';

import { rowMapper, type SelectedField } from '../../src/db/row-mapper.js';
import { bots, botStats, memberships } from '../../src/db/tables.js';

interface Prepared {
  readonly fields: readonly SelectedField[];
  readonly joinsNotNullableMap?: Readonly<Record<string, boolean>>;
}

/** Writes SQL only. */
const db = drizzle({ options: { parsers: {}, serializers: {} } } as never);
const version = sql<number>`${bots.version}`.mapWith(Number);
const INSTANT = '2026-01-31 09:30:00.123456+00';

test.each([
  [
    'columns',
    db.select({ id: bots.id, at: bots.createdAt }).from(bots),
    [
      ['1', INSTANT],
      ['2', null],
    ],
  ],
  [
    'expressions',
    db.select({ version, named: version.as('named') }).from(bots),
    [
      ['7', '8'],
      [null, null],
    ],
  ],
  [
    'an optional join',
    db
      .select({
        version,
        bot: { id: bots.id, at: bots.startedAt },
        stats: { id: botStats.botId, n: botStats.inbound },
      })
      .from(bots)
      .leftJoin(botStats, eq(botStats.botId, bots.id)),
    [
      ['1', 'a', INSTANT, 'a', '5'],
      ['1', 'a', null, null, null],
      ['1', null, INSTANT, null, '5'],
    ],
  ],
  [
    'an object of two tables',
    db
      .select({ both: { id: bots.id, role: memberships.role, version } })
      .from(bots)
      .leftJoin(memberships, eq(memberships.orgId, bots.orgId)),
    [
      ['a', 'OWNER', '3'],
      [null, 'OWNER', null],
      ['a', null, '3'],
    ],
  ],
] as const)('rows of %s become the objects that Drizzle makes of them', (_, query, rows) => {
  const { fields, joinsNotNullableMap } = (query as unknown as { prepare(name: string): Prepared }).prepare(
    'p',
  );
  const { mapResultRow } = drizzleUtils as unknown as { mapResultRow: (...args: unknown[]) => unknown };
  expect(rowMapper(fields, joinsNotNullableMap)(rows)).toEqual(
    rows.map((row) => mapResultRow(fields, row, joinsNotNullableMap)),
  );
});
