import { createApp, type App, type AppOptions } from '../../src/app.js';
import { readConfig } from '../../src/config.js';
import { captureLogs } from './captured-logs.js';
import { Client } from './client.js';
import { SECRET } from './people.js';

export interface TestApp {
  readonly url: string;
  /** The SQL statements sent through the pool, in order; a test may empty it. */
  readonly statements: string[];
  /** The log entries so far. */
  readonly logs: Record<string, unknown>[];
  readonly app: App;
  client(token: string | undefined): Client;
  /** The value of a metric, summed over the series that have these labels. */
  metric(name: string, labels?: Record<string, string>): Promise<number>;
  close(): Promise<void>;
}

/** Runs the server in this process, on a free port, with settings as in production. */
export async function startApp(
  settings: Record<string, string> & { DATABASE_URL: string },
  options: Pick<AppOptions, 'playground'> = {},
): Promise<TestApp> {
  const statements: string[] = [];
  const config = readConfig({
    PORT: '0',
    NODE_ENV: 'test',
    JWT_SECRET: SECRET,
    REDIS_URL: 'off',
    // Tests decide what is cached.
    WARM_ON_START: 'off',
    ...settings,
  });
  const { log, logs } = captureLogs(config.logLevel);
  const app = await createApp(config, {
    ...options,
    log,
    onStatement: (statement) => statements.push(statement),
  });
  const url = await app.listen();
  return {
    url,
    statements,
    logs,
    app,
    client: (token) => new Client(url, token),
    async metric(name, labels = {}) {
      const text = await (await fetch(new URL('/metrics', url))).text();
      const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
      return text
        .split('\n')
        .filter((line) => /^\w+/.exec(line)?.[0] === name && wanted.every((pair) => line.includes(pair)))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
    },
    close: async () => await app.close(),
  };
}
