import type * as fc from 'fast-check';
import { pino } from 'pino';

import { ResponseCache } from '../../../src/cache/response/response-cache.js';
import { CoherentCache } from '../../../src/cache/reader/coherent-cache.js';
import { InvalidationLog, type LogSource } from '../../../src/cache/invalidation/invalidation-log.js';
import { Invalidator } from '../../../src/cache/invalidation/invalidator.js';
import { KeySpace } from '../../../src/cache/core/keys.js';
import { SILENT } from '../../../src/cache/core/observer.js';
import { ResponseDependencies } from '../../../src/cache/response/response-dependencies.js';
import type { CachedResource, Resource, Snapshotted } from '../../../src/cache/core/resource.js';
import { tagFamily } from '../../../src/cache/core/tags.js';
import { Ledger } from './ledger.js';
import { ModelPostgres, type Bots, type Figures } from './model-postgres.js';
import { ModelRedis } from './model-redis.js';
import { ModelStore } from './model-store.js';
import { Steps } from './steps.js';

/** The bots as a view shows them. */
export type View = Readonly<Record<string, Partial<Figures>>>;

export const BOTS = ['a', 'b'] as const;
export const VIEWS = ['bot', 'stats', 'details', 'page', 'bot and stats', 'organization'] as const;
export type ViewName = (typeof VIEWS)[number];

const ORG = 'o';
const botTag = tagFamily('bot');
const statsTag = tagFamily('bot', 'stats');
const orgTag = tagFamily('org');
const orgStatsTag = tagFamily('org', 'stats');

/** Parts of the protocol that a mutant replaces; the real ones by default. */
export interface Parts {
  readonly createStore: (...args: ConstructorParameters<typeof ModelStore>) => ModelStore;
  readonly createLog: (source: LogSource) => InvalidationLog;
  /** Whether a writer invalidates before it commits. */
  readonly invalidatesEarly: boolean;
}

const log = pino({ level: 'silent' });

export const REAL: Parts = {
  createStore: (...args) => new ModelStore(...args),
  // Polls are steps of a scenario, so the log's own timer must never fire.
  createLog: (source) => new InvalidationLog({ source, log, intervalMs: 3_600_000 }),
  invalidatesEarly: false,
};

/** One server process: the real cache on models of Redis and PostgreSQL. */
export class Process {
  readonly store: ModelStore;
  readonly invalidator: Invalidator;
  private readonly log: InvalidationLog;
  private readonly answers: ResponseCache;
  private readonly recoveries: (() => Promise<void>)[] = [];
  private readonly resources: Record<
    'bot' | 'stats' | 'details' | 'page' | 'organization',
    CachedResource<string, View>
  >;

  constructor(
    readonly name: string,
    private readonly system: System,
  ) {
    const { redis, postgres, steps, parts, cluster, ledger } = system;
    this.store = parts.createStore(redis, steps, name, cluster);
    this.log = parts.createLog(postgres.logSource(name, () => ledger.isRead(name, postgres.bots)));
    this.log.onPoll(() => ledger.isPolled(name));
    const { store, recoveries, log: freshness } = this;
    const keys = new KeySpace({ prefix: '', cluster });
    const circuitBreaker = {
      get available() {
        return store.available;
      },
      beforeRecovery: (work: () => Promise<void>) => void recoveries.push(work),
    };
    recoveries.push(async () => await this.log.confirm());
    this.invalidator = new Invalidator({ store, circuitBreaker, keys, log });
    this.answers = new ResponseCache({ store, freshness, observer: SILENT, maxBytes: 1_000_000 });
    const pause = async () => await steps.next(`${name} has waited`);
    const cache = new CoherentCache({
      store,
      keys,
      freshness,
      pause,
      log,
      invalidator: this.invalidator,
      observer: SILENT,
      maxEntries: 10,
    });
    const bind = (
      resource: Pick<Resource<string, View>, 'name' | 'key' | 'tags' | 'maxKeys'>,
      select: (bots: Bots, id: string) => View,
      version?: (bots: Bots, id: string) => number,
    ): CachedResource<string, View> => {
      const whole: Resource<string, View> = {
        ...resource,
        shape: {},
        ttlSeconds: 300,
        params: (id) => ({ id }),
        load: async (ids): Promise<readonly Snapshotted<View>[]> =>
          await postgres.read(`${name}: ${resource.name}`, (bots) =>
            ids.map((id) => ({
              value: select(bots, id),
              ...(version ? { version: version(bots, id) } : {}),
            })),
          ),
      };
      this.invalidator.register(whole, keys.valueKeyOf(whole));
      return cache.resource(whole);
    };
    const of = (bots: Bots, id: string): Figures => bots[id] as Figures;
    this.resources = {
      bot: bind({ name: 'bot', key: 'bot:{id}', tags: [botTag] }, (bots, id) => ({
        [id]: { version: of(bots, id).version },
      })),
      stats: bind(
        { name: 'stats', key: 'bot:{id}:stats', tags: [statsTag] },
        (bots, id) => ({ [id]: { total: of(bots, id).total } }),
        (bots, id) => of(bots, id).total,
      ),
      details: bind({ name: 'details', key: 'bot:{id}:details', tags: [botTag, statsTag] }, (bots, id) => ({
        [id]: of(bots, id),
      })),
      organization: bind(
        { name: 'organization', key: 'org:{id}:stats', tags: [orgTag, orgStatsTag] },
        (bots) => Object.fromEntries(Object.entries(bots).map(([id, { total }]) => [id, { total }])),
      ),
      page: bind({ name: 'page', key: 'bots:{id}', tags: [orgTag], maxKeys: 1_000 }, (bots) =>
        Object.fromEntries(Object.entries(bots).map(([id, { version }]) => [id, { version }])),
      ),
    };
  }

  async start(): Promise<void> {
    await this.log.start();
  }

  async stop(): Promise<void> {
    await this.log.stop();
  }

  /** A query, whose response may be cached. */
  async read(view: ViewName, bot: string): Promise<View> {
    const question = `${view} ${bot}`;
    const cached = await this.answers.find(question);
    if (cached) return JSON.parse(cached.toString()) as View;
    const dependencies = new ResponseDependencies();
    const names = view === 'bot and stats' ? (['bot', 'stats'] as const) : [view];
    const id = view === 'page' || view === 'organization' ? ORG : bot;
    const seen = await Promise.all(
      names.map(async (name) => (await this.resources[name].readMany([id], dependencies))[0] ?? {}),
    );
    const figures: Record<string, Partial<Figures>> = {};
    for (const part of seen) {
      for (const [each, shown] of Object.entries(part)) figures[each] = { ...figures[each], ...shown };
    }
    dependencies.complete();
    this.answers.keep(question, JSON.stringify(figures), dependencies);
    return figures;
  }

  /** Updates a bot. Returns its new version. */
  async update(who: string, bot: string): Promise<number> {
    const { postgres, parts } = this.system;
    const invalidate = async () =>
      await this.invalidator.invalidate([botTag, statsTag].map((tag) => tag.of(bot)).concat(orgTag.of(ORG)));
    if (parts.invalidatesEarly) await invalidate();
    const version = await postgres.write(who, bot, 'version', [botTag.of(bot), orgTag.of(ORG)]);
    if (!parts.invalidatesEarly) await invalidate();
    return version;
  }

  /** Records messages of a bot. Returns the new total. */
  async record(who: string, bot: string): Promise<number> {
    const { postgres } = this.system;
    const made = await postgres.write(who, bot, 'total', [statsTag.of(bot), orgStatsTag.of(ORG)]);
    const [newer] = await postgres.read(who, (bots) => {
      const { total } = bots[bot] as Figures;
      return [{ value: { [bot]: { total } }, version: total }];
    });
    if (newer) await this.resources.stats.replace(bot, newer, [orgStatsTag.of(ORG)]);
    return made;
  }

  /** Reads the log, as a server does ten times a second. */
  async poll(): Promise<void> {
    await this.log.confirm();
  }

  /** The network has recovered: does what a server does before it uses Redis again. */
  async recover(): Promise<void> {
    this.store.network = 'up';
    if (this.store.available) return;
    for (const work of this.recoveries) await work();
    this.store.close();
  }
}

/** Several processes on one Redis and one PostgreSQL. */
export class System {
  readonly redis = new ModelRedis();
  readonly steps: Steps;
  readonly postgres: ModelPostgres;
  readonly ledger: Ledger;
  readonly processes: readonly Process[];

  constructor(
    scheduler: fc.Scheduler,
    readonly parts: Parts,
    readonly cluster: boolean,
    processes: number,
    delays: readonly number[],
  ) {
    this.steps = new Steps(scheduler, delays);
    this.postgres = new ModelPostgres(this.steps, BOTS);
    this.ledger = new Ledger(this.postgres.bots);
    this.processes = Array.from({ length: processes }, (_, i) => new Process(`p${i}`, this));
  }

  /** Reads, and checks that the result shows every write that was answered or polled before. */
  async check(process: Process, view: ViewName, bot: string): Promise<void> {
    const expectation = this.ledger.readBegins(process.name);
    // Without Redis the read goes to the database, so lost invalidations do not matter.
    if (!process.store.available) expectation.polled = this.postgres.bots;
    const seen = await process.read(view, bot);
    this.ledger.readEnds(expectation, seen, `${process.name} reads ${view} ${bot}`);
  }

  /** Makes a mutation; once it is answered, later reads must show it, unless its invalidation was lost. */
  async mutate(process: Process, kind: 'update' | 'record', bot: string, who: string): Promise<void> {
    const mutation = this.ledger.mutationBegins();
    const lost = process.store.lostInvalidations;
    const made = await process[kind](who, bot);
    const isLost = process.store.lostInvalidations > lost;
    const figure = kind === 'update' ? { version: made } : { total: made };
    if (!isLost) this.ledger.mutationIsAnswered(mutation, bot, figure);
  }

  /** Makes a write by SQL, which no process invalidates. */
  async writeOutside(bot: string, who: string): Promise<void> {
    await this.postgres.write(who, bot, 'version', [botTag.of(bot), orgTag.of(ORG)]);
  }
}
