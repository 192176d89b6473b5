import { processEnvironment, readConfig, type Config } from '../../src/config.js';

/** The settings that the harness gives every server process: those of the production server. */
export function serverConfig(): Config {
  return readConfig({ NODE_ENV: 'production', WARM_ON_START: 'off', ...processEnvironment() });
}

/** The address of Redis, for servers that take a client of their own. */
export function redisUrl(): string {
  const { target } = serverConfig().redis;
  if (target?.kind !== 'standalone') throw new Error('The opponents are measured with a standalone Redis.');
  return target.url;
}
