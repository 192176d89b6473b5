import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Pool } from 'undici';

import { addMembers, IDS, resetBots, signAuthorizations, type Caller } from '../execution/fixture.js';
import { eventually } from '../support/eventually.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import type { FuzzRequest } from './requests.js';

const CONNECTIONS = 8;
const MAX_ANSWER_MS = 60_000;

export interface FuzzAnswer {
  /** 0: there was none. */
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly ms: number;
}

/** The compiled server with PostgreSQL and Redis, as production runs it. */
export class FuzzedServer {
  private resets = 0;

  private constructor(
    private readonly server: ServerProcess,
    private readonly redis: RedisService,
    private readonly database: TestDatabase,
    private readonly authorizations: Readonly<Record<Caller, string | undefined>>,
    private readonly pool: Pool,
  ) {}

  static async start(): Promise<FuzzedServer> {
    const [database, redis, authorizations] = await Promise.all([
      createDatabase(),
      createRedis(),
      signAuthorizations(),
    ]);
    await addMembers(database.sql);
    const hook = pathToFileURL(path.join(process.cwd(), 'test/fuzz/heap-report.mjs')).href;
    const server = await startServerProcess({
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      INTROSPECTION: 'on',
      RESPONSE_CACHE_MB: '4',
      RATE_LIMIT_PER_SECOND: '0',
      NODE_OPTIONS: `--import=${hook}`,
    });
    const pool = new Pool(new URL(server.url).origin, {
      connections: CONNECTIONS,
      headersTimeout: MAX_ANSWER_MS,
      bodyTimeout: MAX_ANSWER_MS,
    });
    const fuzzed = new FuzzedServer(server, redis, database, authorizations, pool);
    await fuzzed.reset();
    return fuzzed;
  }

  async close(): Promise<void> {
    await this.pool.destroy();
    await this.server.end('SIGTERM');
    await this.redis.stop();
    await this.database.drop();
  }

  /** Restores the bots and messages, so that lists stay short. */
  async reset(): Promise<void> {
    await resetBots(this.database.sql, `acme-${++this.resets}`);
  }

  async send({ caller, method, path: where, headers, body }: FuzzRequest): Promise<FuzzAnswer> {
    const authorization = this.authorizations[caller];
    const startedAt = performance.now();
    try {
      const response = await this.pool.request({
        path: where,
        method,
        headers: { ...(authorization === undefined ? {} : { authorization }), ...headers },
        ...(body === undefined ? {} : { body }),
      });
      const text = await response.body.text();
      const type = String(response.headers['content-type'] ?? '');
      return { status: response.statusCode, type, body: text, ms: performance.now() - startedAt };
    } catch (error) {
      return { status: 0, type: '', body: String(error), ms: performance.now() - startedAt };
    }
  }

  /** Whether an ordinary request is answered as ever. */
  async isWell(): Promise<boolean> {
    const query = `{ me { id } bots(orgId: "${IDS.organizations[0]}") { total } }`;
    const { body } = await this.send({
      caller: 'owner',
      method: 'POST',
      path: '/graphql',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify({ query })),
    });
    return body.startsWith('{"data":{"me":{"id":') && this.server.child.exitCode === null;
  }

  /** The CPU time that the server has used so far (s). */
  async cpuSeconds(): Promise<number> {
    const metrics = await (await fetch(new URL('/metrics', this.server.url))).text();
    return Number(/^process_cpu_seconds_total (\S+)/m.exec(metrics)?.[1]);
  }

  /** The bytes of the heap in use, after a collection of garbage. */
  async heapBytes(): Promise<number> {
    const { output, child } = this.server;
    const seen = output.length;
    child.kill('SIGUSR2');
    return await eventually(() => {
      const line = output.slice(seen).findLast((each) => each.startsWith('HEAP '));
      return line === undefined ? false : Number(line.slice(5));
    });
  }

  /** What the server has logged as an error. */
  errors(): string[] {
    return this.server.output.filter((line) => /"level":[56]0/.test(line));
  }
}
