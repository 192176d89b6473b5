import { signToken } from '../../src/auth/sign-token.js';
import type { Sql } from '../../src/db/driver.js';
import { bulkLoad, insertBots, insertMessages } from './bulk.js';

/** Signs the tokens of a run; the servers verify them with it. */
export const JWT_SECRET = 'a secret of the benchmarks, long enough for production';

const MAIN_ORG = '22222222-0000-4000-8000-000000000001';
const FOREIGN_ORG = '22222222-0000-4000-8000-000000000002';
const MAIN_BOTS = 1_000;
const MESSAGES_OF_A_BOT = 20;
/** Organizations that are read once a round, each by its own user, so that no read of them is a hit. */
const COLD_ORGANIZATIONS = 100;
const BOTS_OF_A_COLD_ORGANIZATION = 400;

/** The data that workloads use. */
export interface StandardData {
  readonly orgId: string;
  /** An owner of the organization. */
  readonly ownerId: string;
  readonly token: string;
  /** An owner of another organization, who must not see this one. */
  readonly foreignToken: string;
  /** The organization's bots, newest first. */
  readonly botIds: readonly string[];
  readonly cold: readonly { readonly orgId: string; readonly token: string }[];
  readonly botsOfAColdOrganization: number;
}

/** Fills a migrated, empty database: the same rows in every run. */
export async function loadStandard(sql: Sql): Promise<StandardData> {
  await sql`insert into organizations (id, name, slug) values
    (${MAIN_ORG}, 'Main', 'main'), (${FOREIGN_ORG}, 'Foreign', 'foreign')`;
  await sql`
    insert into organizations (id, name, slug)
    select md5('cold ' || n)::uuid, 'Cold ' || n, 'cold-' || n from generate_series(1, ${COLD_ORGANIZATIONS}::int) as n`;
  await sql`
    insert into users (id, email, name)
    select md5('owner of ' || id)::uuid, slug || '@example.com', 'Owner of ' || name from organizations`;
  await sql`
    insert into memberships (user_id, org_id, role)
    select md5('owner of ' || id)::uuid, id, 'OWNER' from organizations`;
  await bulkLoad(sql, async () => {
    await insertBots(sql, sql`values (${MAIN_ORG}::uuid, 'main')`, MAIN_BOTS);
    await insertBots(sql, sql`values (${FOREIGN_ORG}::uuid, 'foreign')`, 30);
    const cold = sql`select id, slug from organizations where slug like 'cold-%'`;
    await insertBots(sql, cold, BOTS_OF_A_COLD_ORGANIZATION);
    await insertMessages(sql, MAIN_ORG, MESSAGES_OF_A_BOT);
  });
  const owners = await sql<{ orgId: string; userId: string }[]>`
    select org_id as "orgId", user_id as "userId" from memberships order by org_id`;
  const tokens = new Map(
    await Promise.all(
      owners.map(async ({ orgId, userId }) => [orgId, await signToken(JWT_SECRET, userId)] as const),
    ),
  );
  const bots = await sql<{ id: string }[]>`
    select id from bots where org_id = ${MAIN_ORG} order by created_at desc, id desc`;
  const tokenOf = (orgId: string): string => tokens.get(orgId) ?? '';
  return {
    orgId: MAIN_ORG,
    ownerId: owners.find(({ orgId }) => orgId === MAIN_ORG)?.userId ?? '',
    token: tokenOf(MAIN_ORG),
    foreignToken: tokenOf(FOREIGN_ORG),
    botIds: bots.map(({ id }) => id),
    cold: [...tokens]
      .filter(([orgId]) => orgId !== MAIN_ORG && orgId !== FOREIGN_ORG)
      .map(([orgId, token]) => ({ orgId, token })),
    botsOfAColdOrganization: BOTS_OF_A_COLD_ORGANIZATION,
  };
}
