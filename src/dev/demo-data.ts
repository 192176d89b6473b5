import type { Sql } from '../db/driver.js';

/** The demo data that the README and the first query name. */
export const DEMO = {
  acme: '00000000-0000-4000-8000-00000000000a',
  globex: '00000000-0000-4000-8000-00000000000b',
  owner: { id: '00000000-0000-4000-8000-000000000101', email: 'owner@acme.example' },
} as const;

/** Any constant works if nothing else in the database takes the same advisory lock. */
const SEED_LOCK = 7_305_190_413;

/**
 * Fills an empty database: two organizations, their members, 150 bots and about 20,000 messages, the same on every
 * machine. Returns false, and changes nothing, if the database already has an organization.
 */
export async function seedDemoData(sql: Sql): Promise<boolean> {
  return await sql.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(${SEED_LOCK})`;
    const [existing] = await tx`select 1 from organizations limit 1`;
    if (existing) return false;

    await tx`insert into organizations (id, name, slug, created_at) values
      (${DEMO.acme}, 'Acme', 'acme', '2026-01-01T08:00:00Z'),
      (${DEMO.globex}, 'Globex', 'globex', '2026-01-01T08:00:00Z')`;
    await tx`insert into users (id, email, name) values
      (${DEMO.owner.id}, ${DEMO.owner.email}, 'Olivia Owner'),
      ('00000000-0000-4000-8000-000000000102', 'editor@acme.example', 'Edgar Editor'),
      ('00000000-0000-4000-8000-000000000103', 'viewer@acme.example', 'Vera Viewer'),
      ('00000000-0000-4000-8000-000000000104', 'owner@globex.example', 'Gordon Owner')`;
    await tx`insert into memberships (user_id, org_id, role) values
      (${DEMO.owner.id}, ${DEMO.acme}, 'OWNER'),
      ('00000000-0000-4000-8000-000000000102', ${DEMO.acme}, 'EDITOR'),
      ('00000000-0000-4000-8000-000000000103', ${DEMO.acme}, 'VIEWER'),
      ('00000000-0000-4000-8000-000000000104', ${DEMO.globex}, 'OWNER')`;
    await tx`
      insert into bots (id, org_id, name, description, status, created_at, updated_at, started_at)
      select
        format('00000000-0000-4000-8%s-%s', lpad(to_hex(o.place), 3, '0'), lpad(n::text, 12, '0'))::uuid,
        o.id,
        format('%s %s %s', (array['Support', 'Sales', 'Onboarding', 'Billing', 'Booking', 'Returns', 'Survey', 'Careers'])[1 + n % 8],
          (array['WhatsApp', 'Instagram', 'Web', 'Telegram', 'Messenger'])[1 + n % 5], lpad(n::text, 3, '0')),
        format('Answers %s questions of %s customers%s', (array['product', 'order', 'account', 'delivery'])[1 + n % 4], o.name,
          case when n % 10 = 0 then ', 100% automated' else '' end),
        case when n % 3 = 0 then 'STOPPED' else 'RUNNING' end::bot_status,
        timestamptz '2026-01-01T09:00:00Z' + n * interval '1 hour',
        timestamptz '2026-01-01T09:00:00Z' + n * interval '1 hour',
        case when n % 3 = 0 then null else timestamptz '2026-01-02T09:00:00Z' + n * interval '1 hour' end
      from (values (${DEMO.acme}::uuid, 'Acme', 120, 161), (${DEMO.globex}::uuid, 'Globex', 30, 177))
        as o(id, name, bots, place)
      cross join lateral generate_series(1, o.bots) as n`;
    await tx`
      insert into messages (id, bot_id, conversation_id, contact_id, direction, status, text, response_time_ms, created_at)
      select
        md5(b.id::text || '/' || m)::uuid,
        b.id,
        format('conversation-%s', m / 6),
        format('contact-%s', m / 12),
        case when m % 2 = 0 then 'INBOUND' else 'OUTBOUND' end::message_direction,
        case when m % 2 = 0 then 'DELIVERED' when (m * 7 + b.place) % 23 = 0 then 'FAILED'
          when (m * 5 + b.place) % 31 = 0 then 'PENDING' else 'DELIVERED' end::message_status,
        case when m % 2 = 0 then format('Question %s', m) else format('Answer to question %s', m - 1) end,
        case when m % 2 = 1 then 200 + (m * 37 + b.place * 11) % 1800 end,
        b.created_at + m * interval '7 minutes'
      from (select id, created_at, (row_number() over (order by id))::int as place from bots) as b
      cross join lateral generate_series(0, 99 + (b.place * 13) % 68) as m`;
    return true;
  });
}
