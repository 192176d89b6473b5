import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

export const EXAMPLE = path.resolve('examples/any-server');

/** Installs the example's packages if they are missing, and compiles it against the compiled cache. */
export async function buildExample(): Promise<void> {
  if (!existsSync(path.join(EXAMPLE, 'node_modules')))
    await promisify(execFile)('npm', ['ci'], { cwd: EXAMPLE });
  await promisify(execFile)(process.execPath, ['node_modules/typescript/bin/tsc', '-p', EXAMPLE]);
}

export interface ExampleServer {
  /** The `data` of an answer. @throws if the answer has errors */
  ask<Data>(query: string): Promise<Data>;
  /** Sends SIGTERM. Returns the exit code. */
  stop(): Promise<number | null>;
}

export async function startExample(
  environment: Readonly<Record<string, string>>,
  entry = 'dist/server.js',
): Promise<ExampleServer> {
  const child = spawn(process.execPath, [entry], {
    cwd: EXAMPLE,
    env: { PATH: process.env.PATH, PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const output: string[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        output.push(line);
        const [, served] = /^Serving (\S+)/.exec(line) ?? [];
        if (served !== undefined) resolve(served);
      });
    }
    exited.then(
      ([code]) => reject(new Error(`The example ended with ${code}:\n${output.join('\n')}`)),
      reject,
    );
  });
  return {
    async ask<Data>(query: string) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query }),
      });
      const { data, errors } = (await response.json()) as { data?: Data; errors?: unknown };
      if (errors !== undefined || !data) throw new Error(JSON.stringify(errors));
      return data;
    },
    async stop() {
      child.kill('SIGTERM');
      const [code] = await exited;
      return code;
    },
  };
}

/** Processes of the example on a database and a Redis of their own. */
export interface Fleet {
  readonly servers: readonly [ExampleServer, ExampleServer];
  readonly database: TestDatabase;
  readonly redis: RedisService;
  readonly environment: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** @param environment of the processes, beside the addresses of the services */
export async function startFleet(environment: Readonly<Record<string, string>> = {}): Promise<Fleet> {
  const [database, redis] = await Promise.all([createDatabase({ migrated: false }), createRedis()]);
  const all = { DATABASE_URL: database.url, REDIS_URL: redis.url, ...environment };
  const servers = await Promise.all([startExample(all), startExample(all)]);
  return {
    servers,
    database,
    redis,
    environment: all,
    async stop() {
      await Promise.all(servers.map(async (server) => await server.stop()));
      await Promise.all([database.drop(), redis.stop()]);
    },
  };
}
