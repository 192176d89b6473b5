import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createLoaders, type ResponseDependencies } from 'flovo-bots/cache';
import { createYoga } from 'graphql-yoga';

import { prepareDatabase } from './database.js';
import { cache, resources, sql } from './resources.js';
import { schema } from './schema.js';

const MAX_REQUEST_CHARACTERS = 100_000;

const yoga = createYoga<{ dependencies: ResponseDependencies }>({
  schema,
  // Loaders of one request: they batch, and collect the dependencies of the response.
  context: ({ dependencies }) => ({ loaders: createLoaders(resources, dependencies) }),
});

/** Answers an operation, with the cached response if all values in it are current. */
async function answer(request: IncomingMessage): Promise<{ status: number; body: Buffer }> {
  let asked = '';
  for await (const chunk of request.setEncoding('utf8')) {
    asked += String(chunk);
    if (asked.length > MAX_REQUEST_CHARACTERS)
      return { status: 413, body: Buffer.from('The request is too long') };
  }
  let status = 200;
  // If users see different data, the key must contain the user.
  const body = await cache.respond(asked, async (dependencies) => {
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: asked };
    const response = await yoga.fetch('http://localhost/graphql', init, { dependencies });
    const text = await response.text();
    ({ status } = response);
    const { errors } = JSON.parse(text) as { errors?: unknown };
    if (response.ok && errors === undefined) dependencies.complete();
    return text;
  });
  return { status, body };
}

const server = createServer((request, response) => {
  answer(request).then(
    ({ status, body }) => response.writeHead(status, { 'content-type': 'application/json' }).end(body),
    (error: unknown) => {
      console.error(error);
      response.writeHead(500).end();
    },
  );
});

await prepareDatabase(sql);
await cache.start();
server.listen(Number(process.env.PORT ?? 4_100), '127.0.0.1', () => {
  console.log(`Serving http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql`);
});

process.once('SIGTERM', () => {
  server.close();
  server.closeIdleConnections();
  Promise.all([cache.close(), sql.end({ timeout: 5 })]).catch(console.error);
});
