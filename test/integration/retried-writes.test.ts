import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import getPort, { portNumbers } from 'get-port';

import { FetchClient } from '../../examples/clients/fetch-client.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

/** The long run: RETRIED_WRITES_KILLS=40. `RETRIED_WRITES_KEYS=off` shows that the keys are what prevents doubled writes. */
const KILLS = Number(process.env.RETRIED_WRITES_KILLS ?? 6);
const HAS_KEYS = process.env.RETRIED_WRITES_KEYS !== 'off';
const CLIENTS = 8;
const SERVERS = 2;
/** How long clients write between two kills: long enough for some writes, short enough for many kills (ms). */
const BETWEEN_KILLS_MS = 300;

jest.setTimeout(120_000 + KILLS * 60_000);

let database: TestDatabase;
let redis: RedisService;
let orgId: string;
let token: string;
let botIds: string[];
const servers: ServerProcess[] = [];

const freePort = async (): Promise<number> => {
  const first = 20_000 + Math.floor(Math.random() * 10_000);
  return await getPort({ port: portNumbers(first, first + 1_000) });
};

const start = async (port: number): Promise<ServerProcess> =>
  await startServerProcess({ DATABASE_URL: database.url, REDIS_URL: redis.url, PORT: String(port) });

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  orgId = await addOrganization(database.sql);
  botIds = await addBots(database.sql, orgId, CLIENTS);
  ({ token } = await addUser(database.sql, { [orgId]: 'EDITOR' }));
  for (let i = 0; i < SERVERS; i++) servers.push(await start(await freePort()));
});

afterAll(async () => {
  await Promise.all(servers.map(async (server) => await server.end('SIGKILL')));
  await redis?.stop();
  await database?.drop();
});

test(`${KILLS} kills of servers under clients that send again lose no write and double none`, async () => {
  /** The names of bots, and the texts of messages, that a server has answered for. */
  const answered = { bots: [] as string[], messages: [] as string[] };
  const run = { isOver: false };

  const keepWriting = async (index: number): Promise<void> => {
    const client = new FetchClient({
      url: servers[index % SERVERS]?.url ?? '',
      headers: () => ({ authorization: `Bearer ${token}` }),
      maxPauseMs: 200,
      giveUpAfterMs: 60_000,
      idempotencyKeys: HAS_KEYS,
    });
    for (let n = 0; !run.isOver; n++) {
      const name = `${index}-${n}`;
      const isBot = n % 2 === 0;
      const { errors } = isBot
        ? await client.mutate('mutation ($input: CreateBotInput!) { createBot(input: $input) { id } }', {
            input: { orgId, name },
          })
        : await client.mutate(
            `mutation ($botId: ID!, $messages: [MessageInput!]!) {
              recordMessages(botId: $botId, messages: $messages) { totalMessages }
            }`,
            { botId: botIds[index], messages: [messageOf(name)] },
          );
      expect(errors).toBeUndefined();
      answered[isBot ? 'bots' : 'messages'].push(name);
    }
  };

  const writers = Array.from({ length: CLIENTS }, async (_, index) => await keepWriting(index));
  for (let kill = 0; kill < KILLS; kill++) {
    await pause(BETWEEN_KILLS_MS * (0.5 + Math.random()));
    const index = kill % SERVERS;
    const server = servers[index] as ServerProcess;
    await server.end('SIGKILL');
    servers[index] = await start(Number(new URL(server.url).port));
  }
  run.isOver = true;
  await Promise.all(writers);

  const { sql } = database;
  const bots = await sql<{ name: string }[]>`select name from bots where id <> all (${botIds}::uuid[])`;
  const messages = await sql<{ text: string }[]>`select text from messages`;
  const written = { bots: bots.map(({ name }) => name), messages: messages.map(({ text }) => text) };
  const [audited] = await sql<[{ bots: number; messages: number }]>`
    select count(*) filter (where mutation = 'createBot')::int as bots,
      count(*) filter (where mutation = 'recordMessages')::int as messages
    from audit_log where org_id = ${orgId}`;
  const findings = {
    bots: compare(answered.bots, written.bots),
    messages: compare(answered.messages, written.messages),
  };
  console.info({ kills: KILLS, keys: HAS_KEYS, ...findings, audited });
  expect(findings).toMatchObject({
    bots: { lost: 0, ...(HAS_KEYS ? { doubled: 0 } : {}) },
    messages: { lost: 0, ...(HAS_KEYS ? { doubled: 0 } : {}) },
  });
  // The audit log has an entry for each write, whatever killed the server.
  expect(audited).toEqual({ bots: written.bots.length, messages: written.messages.length });
  expect(findings.bots.answered).toBeGreaterThan(KILLS);
});

const messageOf = (text: string) => ({
  conversationId: 'c',
  contactId: 'p',
  direction: 'INBOUND',
  status: 'DELIVERED',
  text,
});

const compare = (answered: readonly string[], written: readonly string[]) => ({
  answered: answered.length,
  lost: answered.filter((name) => !written.includes(name)).length,
  doubled: written.length - new Set(written).size,
});
