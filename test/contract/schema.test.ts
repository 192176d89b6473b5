import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  buildClientSchema,
  buildSchema,
  getIntrospectionQuery,
  isEnumType,
  isInputObjectType,
  isIntrospectionType,
  isObjectType,
  isRequiredArgument,
  isRequiredInputField,
  isSpecifiedScalarType,
  lexicographicSortSchema,
  printSchema,
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLNamedType,
  type GraphQLSchema,
  type IntrospectionQuery,
} from 'graphql';

import { startApp, type TestApp } from '../support/app.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

/** The contract. The schema may have more declarations; those here must not change. */
const CONTRACT = /* GraphQL */ `
  scalar DateTime
  enum BotStatus {
    STOPPED
    RUNNING
  }
  enum Role {
    OWNER
    EDITOR
    VIEWER
  }
  enum MessageDirection {
    INBOUND
    OUTBOUND
  }
  enum MessageStatus {
    PENDING
    DELIVERED
    FAILED
  }

  type User {
    id: ID!
    email: String!
    name: String!
    memberships: [Membership!]!
  }
  type Membership {
    role: Role!
    organization: Organization!
  }
  type Organization {
    id: ID!
    name: String!
    slug: String!
    bots: [Bot!]!
    stats: OrganizationStats!
  }
  type OrganizationStats {
    id: ID!
    bots: Int!
    runningBots: Int!
    totalMessages: Int!
    failedMessages: Int!
    lastMessageAt: DateTime
    computedAt: DateTime!
  }
  type Bot {
    id: ID!
    orgId: ID!
    name: String!
    description: String!
    status: BotStatus!
    version: Int!
    createdAt: DateTime!
    updatedAt: DateTime!
    startedAt: DateTime
    stats: BotStats!
    organization: Organization!
    messages(
      first: Int = 20
      after: String
      conversationId: String
      direction: MessageDirection
      status: MessageStatus
    ): MessageConnection!
  }
  type PageInfo {
    hasNextPage: Boolean!
    hasPreviousPage: Boolean!
    startCursor: String
    endCursor: String
  }
  type MessageConnection {
    edges: [MessageEdge!]!
    nodes: [Message!]!
    pageInfo: PageInfo!
  }
  type MessageEdge {
    cursor: String!
    node: Message!
  }
  type RecordedMessages {
    messages: [Message!]!
    bot: Bot!
    stats: BotStats!
  }
  type BotStats {
    id: ID!
    botId: ID!
    totalMessages: Int!
    inboundMessages: Int!
    outboundMessages: Int!
    failedMessages: Int!
    totalConversations: Int!
    averageResponseTimeMs: Float
    successRate: Float
    lastMessageAt: DateTime
    computedAt: DateTime!
  }
  type BotDetails {
    id: ID!
    bot: Bot!
    stats: BotStats!
  }
  type BotPage {
    items: [Bot!]!
    total: Int!
    page: Int!
    limit: Int!
    totalPages: Int!
    hasNextPage: Boolean!
  }
  type Message {
    id: ID!
    botId: ID!
    conversationId: String!
    contactId: String!
    direction: MessageDirection!
    status: MessageStatus!
    text: String!
    responseTimeMs: Int
    createdAt: DateTime!
  }

  type Query {
    me: User!
    organization(id: ID!): Organization
    bots(orgId: ID!, page: Int = 1, limit: Int = 20, search: String = ""): BotPage!
    bot(id: ID!): Bot
    botDetails(id: ID!): BotDetails
    botStats(id: ID!): BotStats
  }

  input CreateBotInput {
    orgId: ID!
    name: String!
    description: String
  }
  input UpdateBotInput {
    name: String
    description: String
    expectedVersion: Int
  }
  input MessageInput {
    conversationId: String!
    contactId: String!
    direction: MessageDirection!
    status: MessageStatus!
    text: String!
    responseTimeMs: Int
  }

  type Mutation {
    createBot(input: CreateBotInput!): Bot!
    updateBot(id: ID!, input: UpdateBotInput!): Bot!
    startBot(id: ID!): Bot!
    stopBot(id: ID!): Bot!
    deleteBot(id: ID!): ID!
    recordMessages(botId: ID!, messages: [MessageInput!]!): BotStats!
    addMessages(botId: ID!, messages: [MessageInput!]!): RecordedMessages!
    updateMessageStatus(id: ID!, status: MessageStatus!): Message!
  }
`;

const withDefault = (input: GraphQLArgument | GraphQLInputField): string =>
  `${input.name}: ${String(input.type)}` +
  (input.defaultValue === undefined ? '' : ` = ${JSON.stringify(input.defaultValue)}`);

/** All declarations of a type, one statement each: types, fields, arguments, defaults, values. */
function declarations(type: GraphQLNamedType): string[] {
  if (isObjectType(type)) {
    return Object.values(type.getFields()).flatMap((field) => [
      `type ${type.name} { ${field.name}: ${String(field.type)} }`,
      ...field.args.map((argument) => `type ${type.name} { ${field.name}(${withDefault(argument)}) }`),
    ]);
  }
  if (isInputObjectType(type)) {
    return Object.values(type.getFields()).map((field) => `input ${type.name} { ${withDefault(field)} }`);
  }
  if (isEnumType(type)) return type.getValues().map(({ name }) => `enum ${type.name} { ${name} }`);
  return [`scalar ${type.name}`];
}

const typesOf = (schema: GraphQLSchema): GraphQLNamedType[] =>
  Object.values(schema.getTypeMap()).filter(
    (type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type),
  );

const allDeclarations = (schema: GraphQLSchema): string[] => typesOf(schema).flatMap(declarations);

const contract = buildSchema(CONTRACT);
const emitted = buildSchema(readFileSync('schema/schema.graphql', 'utf8'));

describe('the SDL in schema/schema.graphql', () => {
  const declared = allDeclarations(emitted);

  test.each(allDeclarations(contract))('declares %s', (declaration) => {
    expect(declared).toContain(declaration);
  });

  test('asks for no argument or input field beyond the contract', () => {
    const required = (schema: GraphQLSchema): string[] =>
      typesOf(schema).flatMap((type) => {
        if (isInputObjectType(type)) {
          return Object.values(type.getFields())
            .filter(isRequiredInputField)
            .map(({ name }) => `${type.name}.${name}`);
        }
        if (!isObjectType(type)) return [];
        return Object.values(type.getFields()).flatMap((field) =>
          field.args.filter(isRequiredArgument).map(({ name }) => `${type.name}.${field.name}(${name})`),
        );
      });
    expect(required(emitted).sort()).toEqual(required(contract).sort());
  });

  test('adds no value to an enumeration of the contract', () => {
    const values = (schema: GraphQLSchema) =>
      allDeclarations(schema).filter(
        (declaration) =>
          declaration.startsWith('enum ') && contract.getType(declaration.split(' ')[1] ?? '') !== undefined,
      );
    expect(values(emitted).sort()).toEqual(values(contract).sort());
  });
});

describe('the schema that is served', () => {
  let database: TestDatabase;
  let app: TestApp;

  beforeAll(async () => {
    database = await createDatabase();
    app = await startApp({ DATABASE_URL: database.url });
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  test('is the one in schema/schema.graphql', async () => {
    const { data } = await app.client(undefined).sendText<IntrospectionQuery>(getIntrospectionQuery());
    const served = buildClientSchema(data as IntrospectionQuery);
    expect(printSchema(lexicographicSortSchema(served))).toBe(printSchema(lexicographicSortSchema(emitted)));
  });
});
