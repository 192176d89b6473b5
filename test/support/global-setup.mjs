import { execFile } from 'node:child_process';
import { mkdir, mkdtemp } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

/**
 * Compiles the server, and brings up what all test files share: a PostgreSQL with a migrated template database, and the
 * program that runs a Redis. Plain JavaScript over the compiled server, because jest does not resolve TypeScript here.
 */
export default async function setUp() {
  const root = process.cwd();
  const dataDir = path.join(root, '.data');
  const say = (line) => process.stderr.write(`  ${line}\n`);
  await mkdir(dataDir, { recursive: true });
  const folder = await mkdtemp(path.join(dataDir, 'test-'));
  process.env.FLOVO_TEST_FOLDER = folder;
  await promisify(execFile)(
    process.execPath,
    ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'],
    {
      cwd: root,
    },
  );
  const built = (file) => import(path.join(root, 'dist', file));
  const [{ startPostgres }, { findRedis }, { migrateDatabase }] = await Promise.all([
    built('dev/services/postgres.js'),
    built('dev/services/redis-program.js'),
    built('db/migrate.js'),
  ]);
  const [postgres] = await Promise.all([
    startPostgres({
      dataDir: path.join(folder, 'postgres'),
      log: say,
      database: 'template_flovo',
      settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '300' },
    }),
    findRedis(path.join(dataDir, 'redis'), say),
  ]);
  globalThis.flovoTestPostgres = postgres;
  process.env.FLOVO_TEST_DATABASE_URL = postgres.url;
  await migrateDatabase(postgres.url);
}
