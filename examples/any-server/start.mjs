import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

import { endWithNpm } from '../../scripts/end-with-npm.mjs';

/**
 * `npm start`: installs missing packages, compiles the cache and this server, starts PostgreSQL and Redis unless DATABASE_URL
 * and REDIS_URL are set, and serves. Your own server does not need this file.
 */
const here = import.meta.dirname;
const root = path.join(here, '../..');

endWithNpm();

function run(command, args, cwd) {
  const { status } = spawnSync(command, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) process.exit(status ?? 1);
}

if (!existsSync(path.join(root, 'node_modules'))) run('npm', ['ci'], root);
if (!existsSync(path.join(here, 'node_modules'))) run('npm', ['ci'], here);
const compiler = path.join(root, 'node_modules/typescript/bin/tsc');
run(process.execPath, [compiler, '-p', 'tsconfig.build.json'], root);
run(process.execPath, [compiler, '-p', here], root);

const { bringUpServices } = await import('../../dist/dev/development-services.js');
const closers = [];
const { databaseUrl, environment } = await bringUpServices(
  { ...process.env, DATA_DIR: process.env.DATA_DIR ?? path.join(here, '.data') },
  closers,
  console.log,
);
Object.assign(process.env, { DATABASE_URL: databaseUrl, REDIS_URL: environment.REDIS_URL });

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    for (const close of closers.toReversed()) await close();
    process.exit(0);
  });
}
await import('./dist/server.js');
console.log(`PostgreSQL: ${databaseUrl}`);
