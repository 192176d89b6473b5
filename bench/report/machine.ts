import { existsSync, readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import path from 'node:path';
import postgres from 'postgres';

import type { Bench } from '../measure/bench.js';

/** The machine and software of a run. */
export interface Machine {
  readonly cores: number;
  readonly processor: string;
  readonly memoryGigabytes: number;
  /** Names and versions. */
  readonly versions: readonly (readonly [string, string])[];
}

const PACKAGES = [
  '@apollo/server',
  'fastify',
  'graphql',
  'ioredis',
  'postgres',
  'async-cache-dedupe',
  'mercurius',
  'mercurius-cache',
  '@apollo/server-plugin-response-cache',
  '@keyv/redis',
  'graphql-yoga',
  '@graphql-yoga/plugin-response-cache',
  '@envelop/response-cache-redis',
];

/** Looks at the machine, the services and the packages. Names neither hosts nor paths. */
export async function describeMachine(bench: Bench): Promise<Machine> {
  const sql = postgres(bench.databaseUrl, { max: 1 });
  const [row] = await sql<{ version: string }[]>`select current_setting('server_version') as version`.finally(
    async () => await sql.end(),
  );
  const server = bench.servers[0];
  const info = server === undefined ? '' : await bench.adminOf(server).info('server');
  const processors = cpus();
  return {
    cores: processors.length,
    processor: processors[0]?.model ?? 'unknown',
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    versions: [
      ['Node', process.version.slice(1)],
      ['PostgreSQL', row?.version ?? '?'],
      ['Redis', /^redis_version:(\S+)/m.exec(info)?.[1] ?? '?'],
      ...PACKAGES.map((name) => [name, versionOf(name)] as const),
    ],
  };
}

/** The version of an installed package: a peer's own, or else one that the root has. */
function versionOf(name: string): string {
  for (const folder of ['bench/node_modules', 'node_modules']) {
    const file = path.join(process.cwd(), folder, name, 'package.json');
    if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
  }
  return '?';
}
