import { Redis } from 'ioredis';
import postgres from 'postgres';

import { migrateDatabase } from '../../src/db/migrate.js';
import type { RedisService } from '../../src/dev/services/redis.js';
import { loadStandard, type StandardData } from '../data/standard.js';
import { Generator } from '../load/generator-process.js';
import type { Options } from '../options.js';
import { contender } from '../servers/contenders.js';
import { startServer, type Server } from '../support/server.js';
import { startServices, type Services } from '../support/services.js';

/** The services, data and servers of all measurements. */
export interface Bench {
  readonly options: Options;
  readonly services: Services;
  readonly redis: RedisService;
  readonly databaseUrl: string;
  readonly data: StandardData;
  /** The servers under test, idle beside each other, each with a Redis database of its own. */
  readonly servers: readonly Server[];
  readonly generator: Generator;
  /** A client on the server's own Redis database, for the harness. */
  adminOf(server: Server): Redis;
  /** Another process of the same server, on the same data and Redis database. */
  startTwin(server: Server): Promise<Server>;
  say(line: string): void;
  stop(): Promise<void>;
}

/** Starts the services, loads the data, and starts the servers. */
export async function setUp(options: Options, say: (line: string) => void): Promise<Bench> {
  const closers: (() => Promise<void> | void)[] = [];
  const stop = async () => {
    for (const close of closers.splice(0).toReversed()) await close();
  };
  const onSignal = () => void stop().finally(() => process.exit(1));
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  try {
    const services = await startServices();
    closers.push(services.stop);
    const redis = await services.startRedis(['--databases', '32']);
    const databaseUrl = services.postgres.url;
    await migrateDatabase(databaseUrl);
    const sql = postgres(databaseUrl, { max: 2, onnotice: () => {} });
    const data = await loadStandard(sql).finally(async () => await sql.end());
    say('Loaded the data');

    const generator = new Generator();
    closers.push(() => generator.stop());
    const admins = new Map<string, Redis>();
    closers.push(() => admins.forEach((admin) => admin.disconnect()));
    const start = async (id: string, url: string): Promise<Server> => {
      const server = await startServer(contender(id, options.contenders), { databaseUrl, redisUrl: url });
      closers.push(server.stop);
      return server;
    };
    const servers = await Promise.all(
      options.servers.map(async (id, place) => await start(id, `${redis.url}/${place}`)),
    );
    say(`Started ${servers.length} servers`);
    return {
      options,
      services,
      redis,
      databaseUrl,
      data,
      servers,
      generator,
      adminOf({ redisUrl }) {
        const admin = admins.get(redisUrl) ?? new Redis(redisUrl, { enableAutoPipelining: true });
        admins.set(redisUrl, admin);
        return admin;
      },
      startTwin: async (server) => await start(server.contender.id, server.redisUrl),
      say,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
