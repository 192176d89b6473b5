import { createApp } from '../app.js';
import { readConfig } from '../config.js';
import { openDriver } from '../db/driver.js';
import { migrateDatabase } from '../db/migrate.js';
import { createLogger } from '../logger.js';
import { briefly, type Closer } from './closers.js';
import { DEMO, seedDemoData } from './demo-data.js';
import { FIRST_QUERY } from './introduction.js';
import { signToken } from '../auth/sign-token.js';

export interface DevelopmentServer {
  readonly url: string;
  /** A token of the demo data's owner. */
  readonly token: string;
}

/**
 * Migrates, fills an empty database with the demo data, and serves. Adds the functions that close it to `closers`.
 * @param environment with DATABASE_URL, REDIS_URL, and JWT_SECRET or JWKS_URL.
 */
export async function serveDemoData(
  environment: Record<string, string>,
  closers: Closer[],
  say: (line: string) => void,
): Promise<DevelopmentServer> {
  const config = readConfig({ LOG_LEVEL: 'warn', ...environment });
  const log = createLogger(config.logLevel);
  const migrations = await migrateDatabase(config.database.url);
  if (migrations > 0) say(`Applied ${migrations} migrations`);
  const sql = openDriver(config.database.url, { max: 1 });
  const close = async () => await sql.end({ timeout: 5 });
  if (await seedDemoData(sql).finally(close)) say('Filled the database with the demo data');

  const { secret, issuer, audience, userClaim } = config.auth;
  const token =
    secret === undefined
      ? '<token>'
      : await signToken(secret, DEMO.owner.id, { issuer, audience, userClaim });
  const app = await createApp(config, {
    log,
    playground: {
      defaultQuery: FIRST_QUERY,
      headers: JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2),
    },
  });
  closers.push(briefly(async () => await app.close()));
  return { url: await app.listen(), token };
}
