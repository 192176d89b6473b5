import 'reflect-metadata';

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { Role, rolesThatAllow } from '../../src/auth/role.enum.js';
import { markWrite } from '../../src/mutations/idempotency-key.js';
import { BotRepository } from '../../src/bots/bot.repository.js';
import { connectDatabase } from '../../src/db/client.js';
import type { MessageInput } from '../../src/messages/message.input.js';
import { MessageRepository } from '../../src/messages/message.repository.js';
import { BotStatsRepository } from '../../src/stats/bot-stats.repository.js';
import { connected, connectOpponentRedis } from './redis.js';
import { Tally } from './report.js';
import { redisUrl, serverConfig } from './settings.js';

const markOf = (mutation: string) => markWrite({ requestId: 'bench', idempotencyKey: undefined }, mutation);

/**
 * The ceiling: bare node:http that checks whether there is a token, sends one Redis GET with the request's body as the key,
 * and returns the bytes that the harness has stored there. For changes, the floor: `/update` and `/record` run nothing but
 * the SQL of the mutation and one Redis round trip.
 */

const tally = new Tally();
const { database, http } = serverConfig();
const redis = connectOpponentRedis(redisUrl());
await connected(redis);
const { db } = connectDatabase({ ...database, onStatement: tally.onStatement });
const bots = new BotRepository(db);
const messages = new MessageRepository(db);
const stats = new BotStatsRepository(db);

const roles = rolesThatAllow(Role.EDITOR);
const HEADERS = { 'content-type': 'application/json; charset=utf-8' };

async function answer(url: string | undefined, body: string): Promise<Buffer | string | null> {
  if (url === '/graphql') return await redis.getBuffer(body);
  if (url === '/update') {
    const { id, orgId, userId, name } = JSON.parse(body) as Record<
      'id' | 'orgId' | 'userId' | 'name',
      string
    >;
    const bot = (await bots.update({ id, userId, roles }, { name }, '', markOf('updateBot')))?.bot;
    await redis.unlink(`bot:${id}`, `org:${orgId}`);
    return JSON.stringify({ data: { id, version: bot?.version } });
  }
  const {
    botId,
    userId,
    messages: inputs,
  } = JSON.parse(body) as { botId: string; userId: string; messages: MessageInput[] };
  await messages.insert({ id: botId, userId, roles }, inputs, markOf('recordMessages'));
  const [[totals]] = await Promise.all([stats.findMany([botId], ''), redis.unlink(`bot:${botId}:stats`)]);
  return JSON.stringify({ data: totals?.value });
}

function receive(request: IncomingMessage, response: ServerResponse): void {
  if (request.headers.authorization === undefined) {
    response.writeHead(401).end();
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = (chunks.length === 1 ? chunks[0] : Buffer.concat(chunks))?.toString() ?? '';
    answer(request.url, body).then(
      (found) => {
        if (found === null) response.writeHead(404).end();
        else response.writeHead(200, { ...HEADERS, 'content-length': Buffer.byteLength(found) }).end(found);
      },
      () => response.writeHead(500).end(),
    );
  });
}

const server = createServer(receive);
server.listen(http.port, http.host, () => {
  tally.announce(`http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql`);
});
