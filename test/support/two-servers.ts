import { startApp, type TestApp } from './app.js';
import { createDatabase, createRedis, type TestDatabase } from './services.js';
import { TcpProxy } from './tcp-proxy.js';

/** Two servers on one Redis and one database; each reaches PostgreSQL through a proxy of its own. */
export interface TwoServers {
  readonly database: TestDatabase;
  readonly app: TestApp;
  /** The proxy of `app`. */
  readonly proxy: TcpProxy;
  readonly other: TestApp;
  /** The proxy of `other`. */
  readonly otherProxy: TcpProxy;
  readonly stop: () => Promise<void>;
}

export async function startTwoServers(): Promise<TwoServers> {
  const closers: (() => unknown)[] = [];
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).toReversed()) await close();
  };
  try {
    const [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    closers.push(database.drop, redis.stop);
    const [proxy, otherProxy] = await Promise.all([
      TcpProxy.before(database.url),
      TcpProxy.before(database.url),
    ]);
    closers.push(
      () => proxy.close(),
      () => otherProxy.close(),
    );
    const settings = { REDIS_URL: redis.url, REDIS_TIMEOUT_MS: '3000' };
    const app = await startApp({ DATABASE_URL: proxy.url, ...settings });
    closers.push(app.close);
    const other = await startApp({ DATABASE_URL: otherProxy.url, ...settings });
    closers.push(other.close);
    return { database, app, proxy, other, otherProxy, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
