import {
  AddMessagesDocument,
  AuditLogDocument,
  BotDetailsDocument,
  BotDocument,
  BotMessagesDocument,
  BotsDocument,
  BotsWithStatsDocument,
  BotStatsDocument,
  CreateBotDocument,
  DeleteBotDocument,
  MeDocument,
  OrganizationBotsDocument,
  OrganizationStatsDocument,
  RecordMessagesDocument,
  StartBotDocument,
  StopBotDocument,
  UpdateBotDocument,
  UpdateMessageStatusDocument,
} from '../generated/graphql.js';
import type { Client, GraphQLAnswer } from '../support/client.js';

/** The objects that operations use. */
export interface Target {
  readonly orgId: string;
  readonly botId: string;
  readonly messageId: string;
}

export type Answer = GraphQLAnswer<Record<string, unknown>>;

export interface Operation {
  readonly name: string;
  /** The field of the query, or of the mutation, that it is about. */
  readonly field: string;
  /** The weakest role that may run it; `SELF`: every user, for their own data. */
  readonly needs: 'SELF' | 'VIEWER' | 'EDITOR' | 'OWNER';
  /** Whether its field is nullable, so that a refusal does not void the rest of the answer. */
  readonly nullable?: boolean;
  /** Whether each run reads the database. */
  readonly uncached?: boolean;
  readonly run: (client: Client, target: Target) => Promise<Answer>;
}

const message = {
  conversationId: 'conversation',
  contactId: 'contact',
  direction: 'OUTBOUND',
  status: 'DELIVERED',
  text: 'Hello',
  responseTimeMs: 5,
} as const;

export const QUERIES: readonly Operation[] = [
  { name: 'me', field: 'me', needs: 'SELF', run: async (client) => await client.send(MeDocument, {}) },
  {
    name: 'organization',
    field: 'organization',
    needs: 'VIEWER',
    nullable: true,
    run: async (client, { orgId }) => await client.send(OrganizationBotsDocument, { id: orgId }),
  },
  {
    name: 'organization with its statistics',
    field: 'organization',
    needs: 'VIEWER',
    nullable: true,
    run: async (client, { orgId }) => await client.send(OrganizationStatsDocument, { id: orgId }),
  },
  {
    name: 'organization with its audit log',
    field: 'organization',
    needs: 'OWNER',
    nullable: true,
    uncached: true,
    run: async (client, { orgId }) => await client.send(AuditLogDocument, { id: orgId }),
  },
  {
    name: 'bots',
    field: 'bots',
    needs: 'VIEWER',
    run: async (client, { orgId }) => await client.send(BotsDocument, { orgId }),
  },
  {
    name: 'bots with a search',
    field: 'bots',
    needs: 'VIEWER',
    run: async (client, { orgId }) => await client.send(BotsDocument, { orgId, search: 'target' }),
  },
  {
    name: 'bots with their statistics',
    field: 'bots',
    needs: 'VIEWER',
    run: async (client, { orgId }) => await client.send(BotsWithStatsDocument, { orgId }),
  },
  {
    name: 'bot',
    field: 'bot',
    needs: 'VIEWER',
    nullable: true,
    run: async (client, { botId }) => await client.send(BotDocument, { id: botId }),
  },
  {
    name: 'the messages of a bot',
    field: 'bot',
    needs: 'VIEWER',
    nullable: true,
    run: async (client, { botId }) => await client.send(BotMessagesDocument, { id: botId }),
  },
  {
    name: 'botDetails',
    field: 'botDetails',
    needs: 'VIEWER',
    nullable: true,
    run: async (client, { botId }) => await client.send(BotDetailsDocument, { id: botId }),
  },
  {
    name: 'botStats',
    field: 'botStats',
    needs: 'VIEWER',
    nullable: true,
    run: async (client, { botId }) => await client.send(BotStatsDocument, { id: botId }),
  },
];

export const MUTATIONS: readonly Operation[] = [
  {
    name: 'createBot',
    field: 'createBot',
    needs: 'EDITOR',
    run: async (client, { orgId }) => await client.send(CreateBotDocument, { input: { orgId, name: 'new' } }),
  },
  {
    name: 'updateBot',
    field: 'updateBot',
    needs: 'EDITOR',
    run: async (client, { botId }) =>
      await client.send(UpdateBotDocument, { id: botId, input: { name: 'changed' } }),
  },
  {
    name: 'updateBot without a change',
    field: 'updateBot',
    needs: 'EDITOR',
    run: async (client, { botId }) => await client.send(UpdateBotDocument, { id: botId, input: {} }),
  },
  {
    name: 'startBot',
    field: 'startBot',
    needs: 'EDITOR',
    run: async (client, { botId }) => await client.send(StartBotDocument, { id: botId }),
  },
  {
    name: 'stopBot',
    field: 'stopBot',
    needs: 'EDITOR',
    run: async (client, { botId }) => await client.send(StopBotDocument, { id: botId }),
  },
  {
    name: 'addMessages',
    field: 'addMessages',
    needs: 'EDITOR',
    run: async (client, { botId }) => await client.send(AddMessagesDocument, { botId, messages: [message] }),
  },
  {
    name: 'recordMessages',
    field: 'recordMessages',
    needs: 'EDITOR',
    run: async (client, { botId }) =>
      await client.send(RecordMessagesDocument, { botId, messages: [message] }),
  },
  {
    name: 'updateMessageStatus',
    field: 'updateMessageStatus',
    needs: 'EDITOR',
    run: async (client, { messageId }) =>
      await client.send(UpdateMessageStatusDocument, { id: messageId, status: 'FAILED' }),
  },
  {
    name: 'deleteBot',
    field: 'deleteBot',
    needs: 'OWNER',
    run: async (client, { botId }) => await client.send(DeleteBotDocument, { id: botId }),
  },
];

export const OPERATIONS = [...QUERIES, ...MUTATIONS];

export const ROLES = ['OWNER', 'EDITOR', 'VIEWER'] as const;
export const OUTSIDERS = ['an owner of another organization', 'a user without a membership'] as const;
export const UNKNOWN = [
  'nobody (no token)',
  'a token that is no token',
  'a token signed with another secret',
  'a token that is not signed',
  'an expired token',
  'a token that is not valid yet',
  'a token of an unknown user',
  'a token that names no user',
  'a token whose subject is no uuid',
] as const;
export type Caller = (typeof ROLES)[number] | (typeof OUTSIDERS)[number] | (typeof UNKNOWN)[number];
export const CALLERS: readonly Caller[] = [...ROLES, ...OUTSIDERS, ...UNKNOWN];

const RANK = { SELF: 0, VIEWER: 1, EDITOR: 2, OWNER: 3 } as const;

/** The outcome that the contract requires: 'OK', or the code of the refusal. */
export function expectedOutcome(caller: Caller, { needs }: Operation): string {
  if ((UNKNOWN as readonly string[]).includes(caller)) return 'UNAUTHENTICATED';
  if (needs === 'SELF') return 'OK';
  if (!(caller in RANK)) return 'NOT_FOUND';
  return RANK[caller as (typeof ROLES)[number]] >= RANK[needs] ? 'OK' : 'FORBIDDEN';
}
