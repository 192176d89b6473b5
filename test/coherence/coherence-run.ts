import type postgres from 'postgres';

import { createDatabase, type TestDatabase } from '../support/services.js';
import { STRICT } from './findings.js';
import { Fleet, type FleetOptions } from './fleet.js';
import { History } from './history.js';
import { Mutations } from './mutations.js';
import { RedisHost } from './redis-host.js';
import type { RedisSide } from './redis-side.js';
import { readTruth } from './truth.js';
import { Workload } from './workload.js';
import { createFixture, type Fixture } from './fixture.js';

export interface CoherenceRunOptions<Side extends RedisSide = RedisHost> extends Pick<
  FleetOptions,
  'proxies' | 'settings' | 'imports'
> {
  readonly servers?: number;
  /** Starts the Redis of the run; a standalone Redis by default. */
  readonly redis?: () => Promise<Side>;
  /** Creates the database of the run; by default in the PostgreSQL that all tests share. */
  readonly database?: () => Promise<TestDatabase>;
  readonly organizations?: number;
  readonly bots?: number;
}

const TRUTH_EVERY_MS = 200;
const BOTS = 60;

/** One run: PostgreSQL, Redis, the servers, their clients, and the history that the checker verifies. */
export class CoherenceRun<Side extends RedisSide = RedisHost> {
  private constructor(
    readonly history: History,
    readonly database: TestDatabase,
    readonly redis: Side,
    readonly fixture: Fixture,
    readonly fleet: Fleet,
    readonly mutations: Mutations,
    readonly workload: Workload,
  ) {}

  static async open(options?: CoherenceRunOptions & { redis?: never }): Promise<CoherenceRun>;
  static async open<Side extends RedisSide>(
    options: CoherenceRunOptions<Side> & { redis: () => Promise<Side> },
  ): Promise<CoherenceRun<Side>>;
  static async open(options: CoherenceRunOptions<RedisSide> = {}): Promise<CoherenceRun<RedisSide>> {
    const history = new History(STRICT);
    const [database, redis] = await Promise.all([
      (options.database ?? createDatabase)(),
      (options.redis ?? (async () => await RedisHost.start()))(),
    ]);
    try {
      const { organizations = 2, bots = BOTS } = options;
      const fixture = await createFixture(database.sql, history, { organizations, bots });
      const fleet = await Fleet.start(
        {
          ...options,
          servers: options.servers ?? 3,
          databaseUrl: database.url,
          redisUrl: redis.url,
          settings: { ...redis.settings, ...options.settings },
        },
        fixture.token,
        history,
      );
      const mutations = new Mutations(fleet, history);
      const workload = new Workload({ fleet, history, mutations, fixture, sql: database.sql });
      return new CoherenceRun(history, database, redis, fixture, fleet, mutations, workload);
    } catch (error) {
      await Promise.all([redis.stop(), database.drop()]);
      throw error;
    }
  }

  /** A connection for writes from outside and for checks; no server uses it. */
  get sql(): postgres.Sql {
    return this.database.sql;
  }

  async readTruth(): Promise<void> {
    await readTruth(this.sql, this.history, this.fixture.orgIds);
  }

  /** Keeps reading the database directly, past every cache, until the returned function is called. */
  watchTruth(): () => Promise<void> {
    const watch = new AbortController();
    const watching = (async () => {
      while (!watch.signal.aborted) {
        // Some faults make PostgreSQL unavailable; the next read comes 200 ms later.
        await this.readTruth().catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, TRUTH_EVERY_MS));
      }
    })();
    return async () => {
      watch.abort();
      await watching;
    };
  }

  async close(): Promise<void> {
    await this.fleet.stop();
    await Promise.all([this.redis.stop(), this.database.drop()]);
  }
}
