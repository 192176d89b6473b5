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

export interface StageOptions<Side extends RedisSide = RedisHost> extends Pick<
  FleetOptions,
  'proxies' | 'settings' | 'imports'
> {
  readonly servers?: number;
  /** Starts the Redis of the run; a plain one by default. */
  readonly redis?: () => Promise<Side>;
  /** Starts the database of the run; one in the PostgreSQL of all tests by default. */
  readonly database?: () => Promise<TestDatabase>;
  readonly organizations?: number;
  readonly bots?: number;
}

const TRUTH_EVERY_MS = 200;
const BOTS = 60;

/** Everything of one run: the services, the servers, and what is known of them. */
export class Stage<Side extends RedisSide = RedisHost> {
  private constructor(
    readonly history: History,
    readonly database: TestDatabase,
    readonly redis: Side,
    readonly fixture: Fixture,
    readonly fleet: Fleet,
    readonly mutations: Mutations,
    readonly workload: Workload,
  ) {}

  static async open(options?: StageOptions & { redis?: never }): Promise<Stage>;
  static async open<Side extends RedisSide>(
    options: StageOptions<Side> & { redis: () => Promise<Side> },
  ): Promise<Stage<Side>>;
  static async open(options: StageOptions<RedisSide> = {}): Promise<Stage<RedisSide>> {
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
      const workload = new Workload({ fleet, history, mutations, fixture });
      return new Stage(history, database, redis, fixture, fleet, mutations, workload);
    } catch (error) {
      await Promise.all([redis.stop(), database.drop()]);
      throw error;
    }
  }

  /** A connection that no server knows of. */
  get sql(): postgres.Sql {
    return this.database.sql;
  }

  async readTruth(): Promise<void> {
    await readTruth(this.sql, this.history, this.fixture.orgIds);
  }

  /** Reads the database past every cache, again and again, until the returned function is called. */
  watchTruth(): () => Promise<void> {
    const watch = new AbortController();
    const watching = (async () => {
      while (!watch.signal.aborted) {
        // Where the database itself is taken away, there is nothing to learn meanwhile.
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
