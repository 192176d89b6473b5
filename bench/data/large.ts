import type { Sql } from '../../src/db/driver.js';
import { bulkLoad, insertBots, insertMessages } from './bulk.js';

/** How much data to load. */
export interface LargeData {
  /** Bots of the one large organization. */
  readonly bots: number;
  readonly otherOrganizations: number;
  readonly botsOfEachOther: number;
  /** Messages, spread evenly over the bots of the large organization. */
  readonly messages: number;
}

/** The one large organization. */
export const LARGE_ORG = '11111111-0000-4000-8000-000000000001';
/** The owner of {@link LARGE_ORG}. */
export const LARGE_OWNER = '11111111-0000-4000-8000-0000000000aa';

/** One large organization among many small ones. The database must be migrated and empty. */
export async function loadLarge(sql: Sql, data: LargeData, say: (line: string) => void): Promise<void> {
  const startedAt = performance.now();
  await sql`insert into organizations (id, name, slug) values (${LARGE_ORG}, 'Large', 'large')`;
  await sql`
    insert into organizations (id, name, slug)
    select md5('organization ' || n)::uuid, 'Other ' || n, 'other-' || n
    from generate_series(1, ${data.otherOrganizations}::int) as n`;
  await sql`insert into users (id, email, name) values (${LARGE_OWNER}, 'owner@large.example', 'Olga Owner')`;
  await sql`insert into memberships (user_id, org_id, role) values (${LARGE_OWNER}, ${LARGE_ORG}, 'OWNER')`;
  await bulkLoad(sql, async () => {
    await insertBots(sql, sql`values (${LARGE_ORG}::uuid, 0)`, data.bots);
    const others = sql`select md5('organization ' || n)::uuid, n from generate_series(1, ${data.otherOrganizations}::int) as n`;
    await insertBots(sql, others, data.botsOfEachOther);
    await insertMessages(sql, LARGE_ORG, Math.ceil(data.messages / data.bots));
  });
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  say(`Loaded ${data.bots} bots in one organization and ${data.messages} messages (${seconds} s)`);
}
