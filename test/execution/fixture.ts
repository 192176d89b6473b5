import { signToken } from '../../src/auth/sign-token.js';
import { SECRET } from '../support/people.js';
import type postgres from 'postgres';

/** A uuid that shows the kind of its object: `40000000-0000-4000-8000-00000000000b`. */
const uuid = (kind: number, n: number): string =>
  `${kind}0000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;

/** The rows of both databases; requests can contain their ids. */
export const IDS = {
  organizations: [uuid(1, 1), uuid(1, 2)],
  bots: [1, 2, 3, 4, 5, 6].map((n) => uuid(2, n)),
  messages: [1, 2, 3, 4, 5, 6].map((n) => uuid(3, n)),
  users: [1, 2, 3, 4].map((n) => uuid(4, n)),
  missing: uuid(9, 1),
} as const;

const [ACME, GLOBEX] = IDS.organizations as [string, string];
const [OWNER, EDITOR, VIEWER, STRANGER] = IDS.users as [string, string, string, string];

export const CALLERS = ['owner', 'editor', 'viewer', 'stranger', 'deleted', 'none', 'invalid'] as const;
export type Caller = (typeof CALLERS)[number];

/** The Authorization header of each caller; undefined for none. */
export async function signAuthorizations(): Promise<Readonly<Record<Caller, string | undefined>>> {
  const bearer = async (id: string) => `Bearer ${await signToken(SECRET, id)}`;
  return {
    owner: await bearer(OWNER),
    editor: await bearer(EDITOR),
    viewer: await bearer(VIEWER),
    stranger: await bearer(STRANGER),
    deleted: await bearer(IDS.missing),
    none: undefined,
    invalid: 'Bearer nobody.signed.this',
  };
}

/** All instants of the fixture are before this year; those that a server sets are later. */
export const FIRST_YEAR_OF_SERVERS = 2026;

/** Adds the rows that never change: the organizations and their members. */
export async function addMembers(sql: postgres.Sql): Promise<void> {
  await sql`insert into organizations (id, name, slug, created_at) values
    (${ACME}, 'Acme', 'acme', '2020-01-01T00:00:00Z'), (${GLOBEX}, 'Globex', 'globex', '2020-01-01T00:00:00Z')`;
  for (const [n, id] of IDS.users.entries()) {
    await sql`insert into users (id, email, name) values (${id}, ${`user${n}@example.com`}, ${`User ${n}`})`;
  }
  await sql`insert into memberships (user_id, org_id, role) values
    (${OWNER}, ${ACME}, 'OWNER'), (${EDITOR}, ${ACME}, 'EDITOR'), (${VIEWER}, ${ACME}, 'VIEWER'),
    (${OWNER}, ${GLOBEX}, 'VIEWER'), (${STRANGER}, ${GLOBEX}, 'EDITOR')`;
}

/**
 * Replaces the bots and messages of the database, in one transaction.
 * @param slug of the first organization afterwards: a read that shows it shows all the rest, too.
 */
export async function resetBots(sql: postgres.Sql, slug: string): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`delete from bots`;
    for (const [n, id] of IDS.bots.entries()) {
      await tx`insert into bots (id, org_id, name, description, created_at) values (
        ${id}, ${n < 4 ? ACME : GLOBEX}, ${`Bot ${n + 1}`}, ${n % 2 === 0 ? '' : `"${n}" \\ é 🤖`},
        ${`2020-02-0${n + 1}T00:00:00.${n}23Z`})`;
    }
    for (const [n, id] of IDS.messages.entries()) {
      await tx`insert into messages (id, bot_id, conversation_id, contact_id, direction, status, text, response_time_ms, created_at)
        values (${id}, ${IDS.bots[n % 3] as string}, ${`c${n % 2}`}, 'p', ${n % 2 === 0 ? 'INBOUND' : 'OUTBOUND'},
          ${['DELIVERED', 'FAILED', 'PENDING'][n % 3] as string}, ${`Hello ${n}`}, ${n % 2 === 0 ? null : n * 10},
          ${`2020-03-0${n + 1}T00:00:00Z`})`;
    }
    await tx`update organizations set slug = ${slug} where id = ${ACME}`;
  });
}

/** The contents of the database, without values that differ between any two databases. */
export async function readTables(sql: postgres.Sql): Promise<Record<string, unknown[]>> {
  const known = [...IDS.bots];
  const name = sql`case when bots.id = any(${known}::uuid[]) then bots.id::text
    else 'created ' || row_number() over (partition by bots.id = any(${known}::uuid[]) order by bots.created_at) end`;
  const named = sql`select bots.*, ${name} as named from bots`;
  const [bots, messages, stats] = await Promise.all([
    sql`select named, org_id, name, description, status, version, started_at is null as stopped
      from (${named}) as bots order by created_at, named`,
    sql`select named, conversation_id, contact_id, direction, messages.status, text, response_time_ms, count(*)::int as times
      from messages join (${named}) as bots on bots.id = bot_id
      group by 1, 2, 3, 4, 5, 6, 7 order by 1, 2, 3, 4, 5, 6, 7`,
    sql`select named, inbound, outbound, failed, outbound_delivered, outbound_failed, conversations, response_time_sum,
        response_time_count
      from bot_stats join (${named}) as bots on bots.id = bot_id order by named`,
  ]);
  return { bots: [...bots], messages: [...messages], stats: [...stats] };
}
