import 'reflect-metadata';

import { createApp } from '../app.js';
import { ConfigError, processEnvironment, readConfig } from '../config.js';
import { connectDatabase } from '../db/client.js';
import { migrateDatabase } from '../db/migrate.js';
import { createLogger } from '../logger.js';
import { closeOnSignal } from '../shutdown.js';
import { claimDataDir } from './data-dir-owner.js';
import { DEMO, seedDemoData } from './demo-data.js';
import {
  bringUpDatabase,
  bringUpRedis,
  dataDirOf,
  developmentSecret,
  type ServiceInUse,
} from './development-services.js';
import { signToken } from './sign-token.js';

const FIRST_QUERY = `query FirstBots {
  bots(orgId: "${DEMO.acme}", limit: 3) {
    total
    items {
      name
      status
      stats {
        totalMessages
        successRate
      }
    }
  }
}
`;

const startedAt = performance.now();
const say = (line: string): void =>
  console.log(`[${((performance.now() - startedAt) / 1_000).toFixed(1)} s] ${line}`);

/** The development server: `npm start`. Brings up what it needs in the data folder, and serves the demo data. */
async function main(): Promise<void> {
  const environment = processEnvironment();
  if (environment.NODE_ENV === 'production')
    throw new Error('npm start is for development; use npm run serve.');
  const closers: Closer[] = [];
  const closeAll = async () => {
    for (const close of closers.splice(0).toReversed()) await close();
  };
  let interrupted = false;
  const starting = start(environment, closers, () => interrupted);
  // From the beginning, because the services run on by themselves: what is being brought up is waited for, and stopped.
  closeOnSignal(createLogger('warn'), async () => {
    interrupted = true;
    await starting.catch(() => undefined);
    await closeAll();
  });
  try {
    await starting;
  } catch (error) {
    if (interrupted) return;
    await closeAll();
    throw error;
  }
}

type Closer = () => Promise<void>;

/** Brings everything up. How to close it is added to `closers`, step by step. */
async function start(
  environment: Record<string, string>,
  closers: Closer[],
  isInterrupted: () => boolean,
): Promise<void> {
  closers.push(await claimDataDir(dataDirOf(environment)));
  const secret = await developmentSecret(environment, say);
  const redisIsGiven = environment.REDIS_URL !== undefined || environment.REDIS_CLUSTER_NODES !== undefined;
  const keep = (service: ServiceInUse): ServiceInUse => {
    closers.push(service.stop);
    return service;
  };
  const [database, redis] = await settleAll([
    bringUpDatabase(environment, say).then(keep),
    redisIsGiven ? Promise.resolve(undefined) : bringUpRedis(environment, say).then(keep),
  ]);
  if (isInterrupted()) return;
  const config = readConfig({
    LOG_LEVEL: 'warn',
    ...environment,
    DATABASE_URL: database?.url,
    ...(redis ? { REDIS_URL: redis.url } : {}),
    ...(environment.JWKS_URL === undefined ? { JWT_SECRET: secret } : {}),
  });
  const log = createLogger(config.logLevel);
  const migrations = await migrateDatabase(config.database.url);
  if (migrations > 0) say(`Applied ${migrations} migrations`);
  const { sql, close } = connectDatabase({
    url: config.database.url,
    poolMax: 1,
  });
  if (await seedDemoData(sql).finally(close)) say('Filled the database with the demo data');

  const token =
    environment.JWKS_URL === undefined
      ? await signToken(secret, DEMO.owner.id, {
          issuer: config.auth.issuer,
          audience: config.auth.audience,
          userClaim: config.auth.userClaim,
        })
      : '<token>';
  const app = await createApp(config, {
    log,
    playground: {
      defaultQuery: FIRST_QUERY,
      headers: JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2),
    },
  });
  closers.push(async () => await app.close());
  const url = await app.listen();
  if (isInterrupted()) return;
  say(`Ready: ${url}`);
  console.log(
    introduction({
      url,
      token,
      databaseUrl: config.database.url,
      redisUrl: redis?.url,
    }),
  );
}

/** Waits for all, even if one fails, so that nothing is left starting when the failure is dealt with. */
async function settleAll<T>(tasks: Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(tasks);
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

function introduction(at: {
  url: string;
  token: string;
  databaseUrl: string;
  redisUrl: string | undefined;
}): string {
  const query = FIRST_QUERY.replace(/\s+/g, ' ').trim();
  return `
  GraphQL and playground   ${at.url}
  PostgreSQL               ${at.databaseUrl}
  Redis                    ${at.redisUrl ?? 'as configured'}

  A token for ${DEMO.owner.email} (for another user: npm run --silent token -- EMAIL)

${at.token}

  A first query:

curl -s ${at.url} -H 'content-type: application/json' \\
  -H 'authorization: Bearer ${at.token}' \\
  -d '${JSON.stringify({ query })}'

  Stop with Ctrl-C.`;
}

main().catch((error: unknown) => {
  const isExpected = error instanceof ConfigError || (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
  console.error(isExpected || !(error instanceof Error) ? (error as Error).message : error.stack);
  process.exit(1);
});
