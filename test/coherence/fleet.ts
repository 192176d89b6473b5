import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';

import type { GraphQLAnswer } from '../support/client.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import type { History } from './history.js';
import type { Instant } from './register.js';

/** A request fails if it is not answered within this time (ms). */
const MAX_ANSWER_MS = 20_000;
/** The same for a server that cannot reach PostgreSQL (ms). */
const MAX_EXCUSED_MS = 1_000;

/** Bytes that a server sent before it was killed arrive within this time (ms). */
const LAST_BYTES_MS = 500;

/** Lines of a crashed server's output to report. */
const LAST_LINES = 12;

/** Running servers; they are killed when this process exits, even after an error. */
const running = new Set<Server>();
process.on('exit', () => {
  for (const server of running) server.process.child.kill('SIGKILL');
});

/** One server process, from start to exit. */
export class Server {
  private killedAt: Instant | undefined;
  private readonly outages: { from: Instant; to: Instant }[] = [];

  /** @param onCrash called with the last lines of output if the process exits without having been killed. */
  constructor(
    readonly name: string,
    readonly process: ServerProcess,
    onCrash: (output: string) => void,
  ) {
    // Each pending request adds an exit listener.
    process.child.setMaxListeners(0);
    process.child.once('exit', () => {
      if (this.killedAt === undefined) onCrash(process.output.slice(-LAST_LINES).join('\n'));
    });
  }

  get isAlive(): boolean {
    const { exitCode, signalCode } = this.process.child;
    return this.killedAt === undefined && exitCode === null && signalCode === null;
  }

  /** Waits until the process has exited and its last bytes must have arrived. */
  async hasEnded(signal: AbortSignal): Promise<void> {
    const { exitCode, signalCode } = this.process.child;
    if (exitCode === null && signalCode === null) await once(this.process.child, 'exit', { signal });
    await pause(LAST_BYTES_MS, undefined, { signal });
  }

  /** Kills the process with SIGKILL; pending requests get no answer. */
  async kill(): Promise<void> {
    this.killedAt ??= performance.now();
    await this.process.end('SIGKILL');
    running.delete(this);
  }

  /** Until the returned function is called, failed requests of this server are excused: it cannot reach PostgreSQL. */
  excuse(): () => void {
    const outage = { from: performance.now(), to: Infinity };
    this.outages.push(outage);
    return () => {
      outage.to = performance.now();
    };
  }

  /** Whether a failure between these instants is excused: the server was killed or could not reach PostgreSQL. */
  isExcused(from: Instant, to: Instant): boolean {
    return (
      this.killedAt !== undefined || this.outages.some((outage) => outage.from <= to && outage.to >= from)
    );
  }
}

/** A server's place in the fleet, with the network around it. */
export interface Berth {
  readonly name: string;
  /** Present if it reaches Redis through a proxy. */
  readonly redis: TcpProxy | undefined;
  /** Present if it reaches PostgreSQL through a proxy. */
  readonly postgres: TcpProxy | undefined;
  server: Server;
}

/** The proxy of a server. @throws Error if the run was opened without proxies */
export function required(proxy: TcpProxy | undefined): TcpProxy {
  if (!proxy) throw new Error('This needs a run with proxies');
  return proxy;
}

export interface FleetOptions {
  readonly databaseUrl: string;
  /** Undefined if `settings` name the Redis nodes. */
  readonly redisUrl: string | undefined;
  readonly servers: number;
  /** Whether each server reaches Redis or PostgreSQL through a proxy of its own. */
  readonly proxies?: { readonly redis?: boolean; readonly postgres?: boolean };
  readonly settings?: Readonly<Record<string, string>>;
  /** Modules that a server imports before it starts: mutants, shifted clocks. */
  readonly imports?: readonly string[];
}

export interface CacheReads {
  /** Values that were found in Redis, and values that were not. */
  readonly hits: number;
  readonly misses: number;
  /** Requests that were answered with a cached response, and requests that were not. */
  readonly responseHits: number;
  readonly responseMisses: number;
}

/** The server processes of a run, which share one PostgreSQL and one Redis. */
export class Fleet {
  /** Servers that {@link any} does not return. */
  private readonly reserved = new Set<Berth>();

  private constructor(
    readonly berths: readonly Berth[],
    private readonly options: FleetOptions,
    private readonly token: string,
    private readonly history: History,
  ) {}

  static async start(options: FleetOptions, token: string, history: History): Promise<Fleet> {
    const { proxies, databaseUrl, redisUrl } = options;
    const places = await Promise.all(
      Array.from({ length: options.servers }, async (_, i) => ({
        name: `server ${i + 1}`,
        redis:
          proxies?.redis === true && redisUrl !== undefined ? await TcpProxy.before(redisUrl) : undefined,
        postgres: proxies?.postgres === true ? await TcpProxy.before(databaseUrl) : undefined,
      })),
    );
    const launched = await Promise.allSettled(
      places.map(async (place) => await launch(place, options, history)),
    );
    const berths: Berth[] = [];
    const failures: unknown[] = [];
    launched.forEach((launch, i) => {
      if (launch.status === 'rejected') failures.push(launch.reason);
      else berths.push({ ...(places[i] as Omit<Berth, 'server'>), server: launch.value });
    });
    const fleet = new Fleet(berths, options, token, history);
    if (failures.length === 0) return fleet;
    await fleet.stop();
    throw failures[0];
  }

  /** Whether the servers have a cache. */
  get usesRedis(): boolean {
    return this.options.settings?.REDIS_URL !== 'off';
  }

  /** Excludes a server from {@link any} until it is released. */
  reserve(berth: Berth): void {
    this.reserved.add(berth);
  }

  release(berth: Berth): void {
    this.reserved.delete(berth);
  }

  /** A random server that is alive and not reserved. */
  get any(): Server {
    const alive = this.berths.filter((berth) => berth.server.isAlive && !this.reserved.has(berth));
    const berth = alive[Math.floor(Math.random() * alive.length)];
    if (!berth) throw new Error('No server is alive');
    return berth.server;
  }

  /** A server's place in the fleet, by number. */
  berth(i: number): Berth {
    const berth = this.berths[i];
    if (!berth) throw new Error(`There is no server ${i}`);
    return berth;
  }

  /** Starts a new server where one was killed. */
  async restart(berth: Berth): Promise<void> {
    berth.server = await launch(berth, this.options, this.history);
  }

  /**
   * Sends a request. Returns undefined, and counts a failure, if no answer arrives: a mutation may then have been made or
   * not. GraphQL errors in an answer are left to the caller.
   */
  async ask(server: Server, text: string, variables: unknown): Promise<GraphQLAnswer<unknown> | undefined> {
    const { findings } = this.history;
    const from = performance.now();
    findings.requests += 1;
    const controller = new AbortController();
    try {
      const answer = server.process.client(this.token).sendText<unknown>(text, variables);
      const limitMs = server.isExcused(from, from) ? MAX_EXCUSED_MS : MAX_ANSWER_MS;
      const timeout = pause(limitMs, undefined, { signal: controller.signal }).then(() => {
        throw new Error(`no answer within ${limitMs} ms`);
      });
      // The HTTP client does not always notice that the server is gone, so its exit ends the request, too.
      const death = server.hasEnded(controller.signal).then(() => {
        throw new Error('the server has ended');
      });
      return await Promise.race([answer, timeout, death]);
    } catch (error) {
      this.failed(server, from, error instanceof Error ? error.message : String(error));
      return undefined;
    } finally {
      controller.abort();
    }
  }

  /** Counts a failed request, as excused if its server was killed or had no database. */
  failed(server: Server, from: Instant, description: string): void {
    if (server.isExcused(from, performance.now())) this.history.findings.excused += 1;
    else this.history.findings.fail(`${description} (${server.name})`);
  }

  /** The cache counters of all live servers, summed, since each started. */
  async cacheReads(): Promise<CacheReads> {
    const reads = { hits: 0, misses: 0, responseHits: 0, responseMisses: 0 };
    for (const { server } of this.berths) {
      if (!server.isAlive) continue;
      for (const [series, value] of await metricsOf(server)) {
        const isResponse = series.includes('resource="response"');
        if (series.startsWith('flovo_cache_hits_total')) reads[isResponse ? 'responseHits' : 'hits'] += value;
        if (series.startsWith('flovo_cache_misses_total'))
          reads[isResponse ? 'responseMisses' : 'misses'] += value;
      }
    }
    return reads;
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.berths.map(async ({ server, redis, postgres }) => {
        await server.kill();
        redis?.close();
        postgres?.close();
      }),
    );
  }
}

async function launch(
  { name, redis, postgres }: Omit<Berth, 'server'>,
  { databaseUrl, redisUrl, settings, imports = [] }: FleetOptions,
  history: History,
): Promise<Server> {
  const started = await startServerProcess({
    DATABASE_URL: postgres?.url ?? databaseUrl,
    ...(redisUrl === undefined ? {} : { REDIS_URL: redis?.url ?? redisUrl }),
    NODE_OPTIONS: imports.map((url) => `--import=${url}`).join(' '),
    ...settings,
  });
  const server = new Server(name, started, (output) =>
    history.findings.fail(`${name} has ended by itself:\n${output}`),
  );
  running.add(server);
  return server;
}

async function metricsOf(server: Server): Promise<[series: string, value: number][]> {
  const text = await (await fetch(new URL('/metrics', server.process.url))).text();
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]);
}
