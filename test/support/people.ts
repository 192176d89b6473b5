import { randomUUID } from 'node:crypto';
import type postgres from 'postgres';

import { signToken } from '../../src/auth/sign-token.js';

export const SECRET = 'a secret of the tests, long enough for production';

export type RoleName = 'OWNER' | 'EDITOR' | 'VIEWER';

/** Adds an organization. Returns its id. */
export async function addOrganization(sql: postgres.Sql, name = 'Acme'): Promise<string> {
  const [row] = await sql<{ id: string }[]>`
    insert into organizations (name, slug) values (${name}, ${`${name.toLowerCase()}-${randomUUID()}`}) returning id`;
  return (row as { id: string }).id;
}

/** Adds a user who has a role in each of the organizations. Returns their id and a token. */
export async function addUser(
  sql: postgres.Sql,
  roles: Readonly<Record<string, RoleName>> = {},
): Promise<{ id: string; token: string; email: string }> {
  const email = `${randomUUID()}@example.com`;
  const [row] = await sql<
    { id: string }[]
  >`insert into users (email, name) values (${email}, 'Someone') returning id`;
  const { id } = row as { id: string };
  for (const [orgId, role] of Object.entries(roles)) {
    await sql`insert into memberships (user_id, org_id, role) values (${id}, ${orgId}, ${role})`;
  }
  return { id, token: await signToken(SECRET, id), email };
}

/** Adds bots named `bot 1`, `bot 2`, … the last being the newest. Returns their ids in that order. */
export async function addBots(sql: postgres.Sql, orgId: string, count: number): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    insert into bots (org_id, name, created_at)
    select ${orgId}, 'bot ' || n, timestamptz '2026-01-01T00:00:00Z' + n * interval '1 minute'
    from generate_series(1, ${count}) as n returning id, name`;
  return rows.map(({ id }) => id);
}
