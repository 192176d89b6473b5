import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  numeric,
  pgEnum,
  pgTable,
  pgView,
  primaryKey,
  smallint,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';

import { toCount } from './count.js';
import { toIsoInstant } from './instant.js';

export const role = pgEnum('role', ['OWNER', 'EDITOR', 'VIEWER']);
export const botStatus = pgEnum('bot_status', ['STOPPED', 'RUNNING']);
export const messageDirection = pgEnum('message_direction', ['INBOUND', 'OUTBOUND']);
export const messageStatus = pgEnum('message_status', ['PENDING', 'DELIVERED', 'FAILED']);

/** A 64-bit transaction id, which never wraps; a text, because it can exceed a JavaScript number. */
const xid8 = customType<{ data: string }>({ dataType: () => 'xid8' });

const pgSnapshot = customType<{ data: string }>({ dataType: () => 'pg_snapshot' });

/** An instant in ISO 8601 with milliseconds, as clients get it, without the detour of a `Date`. */
const instant = customType<{ data: string; driverData: string }>({
  dataType: () => 'timestamp with time zone',
  fromDriver: toIsoInstant,
});

/** A sum of any size, limited to the range of GraphQL's Int. */
const count = customType<{ data: number; driverData: string }>({
  dataType: () => 'numeric',
  fromDriver: (written) => toCount(Number(written)),
});

export const organizations = pgTable('organizations', {
  id: uuid('id').primaryKey().defaultRandom(),
  name: text('name').notNull(),
  slug: text('slug').notNull().unique(),
  createdAt: instant('created_at')
    .notNull()
    .default(sql`now()`),
});

export const users = pgTable(
  'users',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    email: text('email').notNull(),
    name: text('name').notNull().default(''),
    /** The user's name at the identity provider, if that is not a uuid; a uuid is the user's id itself. */
    subject: text('subject').unique(),
  },
  (table) => [
    uniqueIndex('users_email_key').on(sql`lower(${table.email})`),
    check('users_subject_length', sql`char_length(${table.subject}) between 1 and 255`),
    check(
      'users_subject_is_no_uuid',
      sql`${table.subject} !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'`,
    ),
  ],
);

export const memberships = pgTable(
  'memberships',
  {
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    orgId: uuid('org_id')
      .notNull()
      .references(() => organizations.id, { onDelete: 'cascade' }),
    role: role('role').notNull().default('VIEWER'),
  },
  (table) => [
    primaryKey({ columns: [table.userId, table.orgId] }),
    index('memberships_org_idx').on(table.orgId),
  ],
);

export const bots = pgTable(
  'bots',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    orgId: uuid('org_id')
      .notNull()
      .references(() => organizations.id, { onDelete: 'cascade' }),
    name: text('name').notNull(),
    description: text('description').notNull().default(''),
    status: botStatus('status').notNull().default('STOPPED'),
    version: integer('version').notNull().default(1),
    createdAt: instant('created_at')
      .notNull()
      .default(sql`now()`),
    updatedAt: instant('updated_at')
      .notNull()
      .default(sql`now()`),
    startedAt: instant('started_at'),
  },
  (table) => [
    index('bots_list_idx').on(table.orgId, table.createdAt.desc().nullsFirst(), table.id.desc().nullsFirst()),
    check('bots_name_length', sql`char_length(${table.name}) between 1 and 120`),
    check('bots_description_length', sql`char_length(${table.description}) <= 2000`),
  ],
);

/** The number of bots of an organization, maintained by triggers, so that a list page need not count rows. */
export const botCounts = pgTable('bot_counts', {
  orgId: uuid('org_id')
    .primaryKey()
    .references(() => organizations.id, { onDelete: 'cascade' }),
  total: bigint('total', { mode: 'number' }).notNull().default(0),
});

export const messages = pgTable(
  'messages',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    botId: uuid('bot_id')
      .notNull()
      .references(() => bots.id, { onDelete: 'cascade' }),
    conversationId: text('conversation_id').notNull(),
    contactId: text('contact_id').notNull(),
    direction: messageDirection('direction').notNull(),
    status: messageStatus('status').notNull().default('PENDING'),
    text: text('text').notNull().default(''),
    responseTimeMs: integer('response_time_ms'),
    createdAt: instant('created_at')
      .notNull()
      .default(sql`now()`),
  },
  (table) => [
    // For pages of all messages of a bot, of those of one kind, and of those of one kind in a conversation.
    index('messages_page_idx').on(
      table.botId,
      table.createdAt.desc().nullsFirst(),
      table.id.desc().nullsFirst(),
    ),
    index('messages_kind_idx').on(
      table.botId,
      table.direction,
      table.status,
      table.createdAt.desc().nullsFirst(),
      table.id.desc().nullsFirst(),
    ),
    index('messages_conversation_idx').on(
      table.botId,
      table.conversationId,
      table.direction,
      table.status,
      table.createdAt.desc().nullsFirst(),
      table.id.desc().nullsFirst(),
    ),
    check('messages_text_length', sql`char_length(${table.text}) <= 8000`),
    check('messages_conversation_id_length', sql`char_length(${table.conversationId}) between 1 and 255`),
    check('messages_contact_id_length', sql`char_length(${table.contactId}) between 1 and 255`),
    check('messages_response_time', sql`${table.responseTimeMs} >= 0`),
    check(
      'messages_inbound_without_response_time',
      sql`${table.direction} = 'OUTBOUND' or ${table.responseTimeMs} is null`,
    ),
  ],
);

/** Running totals of a bot's messages, maintained by triggers in the transaction that writes the messages. */
export const botStats = pgTable(
  'bot_stats',
  {
    botId: uuid('bot_id')
      .primaryKey()
      .references(() => bots.id, { onDelete: 'cascade' }),
    inbound: bigint('inbound', { mode: 'number' }).notNull().default(0),
    outbound: bigint('outbound', { mode: 'number' }).notNull().default(0),
    failed: bigint('failed', { mode: 'number' }).notNull().default(0),
    outboundDelivered: bigint('outbound_delivered', { mode: 'number' }).notNull().default(0),
    outboundFailed: bigint('outbound_failed', { mode: 'number' }).notNull().default(0),
    conversations: bigint('conversations', { mode: 'number' }).notNull().default(0),
    responseTimeSum: bigint('response_time_sum', { mode: 'number' }).notNull().default(0),
    responseTimeCount: bigint('response_time_count', { mode: 'number' }).notNull().default(0),
    lastMessageAt: instant('last_message_at'),
    revision: bigint('revision', { mode: 'number' }).notNull().default(0),
    /** The bot's organization, maintained by triggers: when a bot is deleted, its totals outlive its row. */
    orgId: uuid('org_id').notNull(),
  },
  // Every message changes the other columns, and an index on any of them would make those updates expensive.
  (table) => [index('bot_stats_shard_idx').on(table.orgId, sql`organization_shard(${table.botId})`)],
);

/**
 * Running totals of an organization, maintained by triggers. Its bots are spread over up to 64 shards, so that
 * writers of different bots seldom wait for each other; the totals are the sums of the shards. Sums of messages are
 * numeric, because a bot with an absurd total must not stop the writers of the others.
 */
export const organizationTotals = pgTable(
  'organization_totals',
  {
    orgId: uuid('org_id')
      .notNull()
      .references(() => organizations.id, { onDelete: 'cascade' }),
    shard: smallint('shard').notNull(),
    runningBots: bigint('running_bots', { mode: 'number' }).notNull().default(0),
    totalMessages: numeric('total_messages', { mode: 'number' }).notNull().default(0),
    failedMessages: numeric('failed_messages', { mode: 'number' }).notNull().default(0),
    lastMessageAt: instant('last_message_at'),
  },
  (table) => [primaryKey({ columns: [table.orgId, table.shard] })],
);

/** Statistics of organizations, computed from their totals; a migration makes this view. */
export const organizationStats = pgView('organization_stats', {
  id: uuid('id').notNull(),
  bots: count('bots').notNull(),
  runningBots: count('running_bots').notNull(),
  totalMessages: count('total_messages').notNull(),
  failedMessages: count('failed_messages').notNull(),
  lastMessageAt: instant('last_message_at'),
  computedAt: instant('computed_at').notNull(),
}).existing();

/** The number of messages in each conversation of a bot, which makes the count of conversations exact. */
export const conversations = pgTable(
  'conversations',
  {
    botId: uuid('bot_id')
      .notNull()
      .references(() => bots.id, { onDelete: 'cascade' }),
    conversationId: text('conversation_id').notNull(),
    messages: bigint('messages', { mode: 'number' }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.botId, table.conversationId] })],
);

/** The tables that answers are made of. */
export const TABLES_TO_READ = [
  organizations,
  users,
  memberships,
  bots,
  botCounts,
  messages,
  botStats,
  organizationTotals,
] as const;

/**
 * The outcomes of mutations that were requested with an idempotency key, written in the transaction of the mutation.
 * They refer to no other table: they are short-lived, and outlive what they tell of.
 */
export const idempotencyKeys = pgTable(
  'idempotency_keys',
  {
    userId: uuid('user_id').notNull(),
    key: text('key').notNull(),
    /** The place of the mutation among those of its request. */
    ordinal: smallint('ordinal').notNull(),
    /** A digest of the request. */
    fingerprint: text('fingerprint').notNull(),
    orgId: uuid('org_id').notNull(),
    outcome: jsonb('outcome').notNull(),
    keptAt: instant('kept_at')
      .notNull()
      .default(sql`now()`),
  },
  (table) => [
    primaryKey({ columns: [table.userId, table.key, table.ordinal] }),
    index('idempotency_keys_kept_at_idx').on(table.keptAt),
  ],
);

/** What mutations have changed, written in their transactions. It refers to no other table: it outlives what it tells of. */
export const auditLog = pgTable(
  'audit_log',
  {
    orgId: uuid('org_id').notNull(),
    id: bigint('id', { mode: 'bigint' }).generatedAlwaysAsIdentity().notNull(),
    at: instant('at')
      .notNull()
      .default(sql`now()`),
    userId: uuid('user_id').notNull(),
    mutation: text('mutation').notNull(),
    /** The bot, and messages. */
    entityIds: uuid('entity_ids').array().notNull(),
    requestId: text('request_id').notNull(),
    idempotencyKey: text('idempotency_key'),
  },
  (table) => [primaryKey({ columns: [table.orgId, table.id] }), index('audit_log_at_idx').on(table.at)],
);

/** The log of the tags that each committed transaction has outdated; only triggers write it. */
export const cacheInvalidations = pgTable(
  'cache_invalidations',
  {
    xid: xid8('xid')
      .notNull()
      .default(sql`pg_current_xact_id()`),
    tags: text('tags').array().notNull(),
    loggedAt: instant('logged_at')
      .notNull()
      .default(sql`clock_timestamp()`),
  },
  (table) => [index('cache_invalidations_xid_idx').on(table.xid)],
);

/** One row: entries of the log below this transaction id may be missing, so values with older snapshots are refused. */
export const cacheLogState = pgTable(
  'cache_log_state',
  {
    single: boolean('single').primaryKey().default(true),
    prunedBelow: xid8('pruned_below').notNull(),
    /** Part of every snapshot. A restored or moved database gets a new epoch, so that all cached values are refused. */
    epoch: text('epoch')
      .notNull()
      .default(sql`left(md5(gen_random_uuid()::text), 12)`),
    /** The database that the epoch belongs to, as `cache_database()` names it. */
    database: text('database').notNull().default(''),
  },
  (table) => [check('cache_log_state_single', sql`${table.single}`)],
);

/** Snapshots taken now and then, so that the log can be pruned by what they have seen instead of by clocks alone. */
export const cacheLogHorizons = pgTable('cache_log_horizons', {
  takenAt: instant('taken_at').primaryKey(),
  snapshot: pgSnapshot('snapshot').notNull(),
});
