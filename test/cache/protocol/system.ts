import { pino } from 'pino';

import { MAX_EXECUTIONS } from '../../../src/cache/create-cache.js';
import { MomentCheck } from '../../../src/cache/response/moment-check.js';
import { ResponseCache } from '../../../src/cache/response/response-cache.js';
import { CoherentCache } from '../../../src/cache/reader/coherent-cache.js';
import { InvalidationLog, type LogSource } from '../../../src/cache/invalidation/invalidation-log.js';
import { Helping } from '../../../src/cache/invalidation/helping.js';
import { Invalidator } from '../../../src/cache/invalidation/invalidator.js';
import { uncached } from '../../../src/cache/reader/uncached.js';
import { rethrowUnlessUnavailable } from '../../../src/cache/core/errors.js';
import { KeySpace } from '../../../src/cache/core/keys.js';
import { SILENT } from '../../../src/cache/core/observer.js';
import { ResponseDependencies } from '../../../src/cache/response/response-dependencies.js';
import type { CachedResource, Resource, Snapshotted } from '../../../src/cache/core/resource.js';
import { EVERYTHING, tagFamily } from '../../../src/cache/core/tags.js';
import { Ledger, type View } from './ledger.js';
import { ModelPostgres, type Bots, type Change, type Figures, type ReadOnly } from './model-postgres.js';
import { ModelRedis } from './model-redis.js';
import { ModelStore } from './model-store.js';
import { Steps, type Scheduler } from './steps.js';

export const BOTS = ['a', 'b'] as const;
const ORG = 'o';

export const RESOURCES = ['bot', 'stats', 'details', 'page', 'organization'] as const;
export type ResourceName = (typeof RESOURCES)[number];

/** What a query reads: in each turn several values at once. */
type Turns = readonly (readonly (readonly [ResourceName, id: string])[])[];

const otherThan = (bot: string): string => BOTS.find((each) => each !== bot) as string;

const QUERIES = {
  bot: (bot) => [[['bot', bot]]],
  stats: (bot) => [[['stats', bot]]],
  details: (bot) => [[['details', bot]]],
  page: () => [[['page', ORG]]],
  organization: () => [[['organization', ORG]]],
  'bot and stats': (bot) => [
    [
      ['bot', bot],
      ['stats', bot],
    ],
  ],
  'both bots': () => [
    [
      ['bot', BOTS[0]],
      ['bot', BOTS[1]],
    ],
  ],
  'one bot, then the other': (bot) => [[['bot', bot]], [['bot', otherThan(bot)]]],
  'page, then details': (bot) => [[['page', ORG]], [['details', bot]]],
  'bot, then organization': (bot) => [
    [['bot', bot]],
    [
      ['organization', ORG],
      ['page', ORG],
    ],
  ],
} as const satisfies Record<string, (bot: string) => Turns>;

export type ViewName = keyof typeof QUERIES;
export const VIEWS = Object.keys(QUERIES) as ViewName[];

/** What a write by SQL changes: one bot, both in one transaction, or so much that the log only says "everything". */
export const OUTSIDE_WRITES = ['one', 'both', 'everything'] as const;
export type OutsideWrite = (typeof OUTSIDE_WRITES)[number];
const botTag = tagFamily('bot');
const statsTag = tagFamily('bot', 'stats');
const orgTag = tagFamily('org');
const orgStatsTag = tagFamily('org', 'stats');

/** Parts of the protocol that a mutant replaces; the real ones by default. */
export interface Parts {
  readonly createStore: (...args: ConstructorParameters<typeof ModelStore>) => ModelStore;
  readonly createLog: (source: LogSource) => InvalidationLog;
  readonly createHelping: (store: ModelStore, ...args: ConstructorParameters<typeof Helping>) => Helping;
  readonly createCheck: (...args: ConstructorParameters<typeof MomentCheck>) => MomentCheck;
  /** Whether a writer invalidates before it commits. */
  readonly invalidatesEarly: boolean;
}

const log = pino({ level: 'silent' });

export const REAL: Parts = {
  createStore: (...args) => new ModelStore(...args),
  // Polls are steps of a scenario, so the log's own timer must never fire.
  createLog: (source) => new InvalidationLog({ source, log, intervalMs: 3_600_000 }),
  createHelping: (_, ...args) => new Helping(...args),
  createCheck: (...args) => new MomentCheck(...args),
  invalidatesEarly: false,
};

/** One server process: the real cache on models of Redis and PostgreSQL. */
export class Process {
  readonly store: ModelStore;
  readonly invalidator: Invalidator;
  private readonly log: InvalidationLog;
  private readonly answers: ResponseCache;
  private readonly recoveries: (() => Promise<void>)[] = [];
  private readonly helping: Helping;
  private readonly momentCheck: MomentCheck;
  private readonly resources: Resources;
  /** The same resources, read from one snapshot of the database. */
  private readonly inOneSnapshot: () => Resources;

  constructor(
    readonly name: string,
    private readonly system: System,
  ) {
    const { redis, postgres, steps, parts, cluster, ledger } = system;
    this.store = parts.createStore(redis, steps, name, cluster);
    this.log = parts.createLog(postgres.logSource(name, () => ledger.isRead(name, postgres.bots)));
    const { store, recoveries, log: freshness } = this;
    const keys = new KeySpace({ prefix: '', cluster });
    const circuitBreaker = {
      get available() {
        return store.available;
      },
      beforeRecovery: (work: () => Promise<void>) => void recoveries.push(work),
    };
    recoveries.push(async () => await this.log.confirm());
    this.invalidator = new Invalidator({ store, circuitBreaker, keys, observer: SILENT, log });
    this.helping = parts.createHelping(store, {
      invalidationLog: this.log,
      invalidator: this.invalidator,
      serves: true,
    });
    this.momentCheck = parts.createCheck({ store, freshness, helping: this.helping, observer: SILENT });
    this.answers = new ResponseCache({ store, freshness, observer: SILENT, maxBytes: 1_000_000 });
    const pause = async () => await steps.next(`${name} has waited`);
    const cache = new CoherentCache({
      store,
      keys,
      freshness,
      helping: this.helping,
      pause,
      log,
      invalidator: this.invalidator,
      observer: SILENT,
      maxEntries: 10,
    });
    const bound = (
      from: ReadOnly,
      bind: (resource: Resource<string, View>) => CachedResource<string, View>,
    ) =>
      Object.fromEntries(
        RESOURCES.map((resource) => [resource, bind(describe(name, resource, from))]),
      ) as Resources;
    this.resources = bound(postgres, (resource) => {
      this.invalidator.register(resource, keys.valueKeyOf(resource));
      return cache.resource(resource);
    });
    this.inOneSnapshot = () =>
      bound(postgres.beginSnapshot(), (resource) => uncached(resource, this.helping));
  }

  async start(): Promise<void> {
    await this.log.start();
  }

  async stop(): Promise<void> {
    await this.log.stop();
  }

  /** A query, whose response may be cached; executed again, as a server does, while it is of several moments. */
  async read(view: ViewName, bot: string): Promise<readonly View[]> {
    const { answers, momentCheck } = this;
    const question = `${view} ${bot}`;
    const cached = await answers.find(question);
    if (cached) return JSON.parse(cached.body.toString()) as View[];
    for (let execution = 1; execution <= MAX_EXECUTIONS; execution++) {
      const dependencies = new ResponseDependencies(momentCheck.since);
      const seen = await this.execute(view, bot, this.resources, dependencies);
      dependencies.complete();
      if (!(await momentCheck.holds(dependencies))) continue;
      answers.keep(question, JSON.stringify(seen), dependencies);
      return seen;
    }
    return await this.execute(view, bot, this.inOneSnapshot(), new ResponseDependencies(momentCheck.since));
  }

  private async execute(
    view: ViewName,
    bot: string,
    resources: Resources,
    dependencies: ResponseDependencies,
  ): Promise<View[]> {
    const seen: View[] = [];
    for (const turn of QUERIES[view](bot) as Turns) {
      const parts = await Promise.all(
        turn.map(async ([name, id]) => (await resources[name].readMany([id], dependencies))[0] ?? {}),
      );
      seen.push(...parts);
    }
    return seen;
  }

  /** Loads a value again, as a process does before the value expires: nobody waits for it. */
  async refresh(name: ResourceName, bot: string): Promise<void> {
    try {
      await this.resources[name].refresh?.([name === 'page' || name === 'organization' ? ORG : bot]);
    } catch (error) {
      rethrowUnlessUnavailable(error);
    }
  }

  /** Updates a bot. Returns its new version. */
  async update(who: string, bot: string): Promise<number> {
    const { postgres, parts } = this.system;
    const invalidate = async () =>
      await this.invalidator.invalidate([botTag, statsTag].map((tag) => tag.of(bot)).concat(orgTag.of(ORG)));
    if (parts.invalidatesEarly) await invalidate();
    const bots = await postgres.write(who, [{ bot, figure: 'version' }], [botTag.of(bot), orgTag.of(ORG)]);
    if (!parts.invalidatesEarly) await invalidate();
    return of(bots, bot).version;
  }

  /** Records messages of a bot. Returns the new total. */
  async record(who: string, bot: string): Promise<number> {
    const { postgres } = this.system;
    const tags = [statsTag.of(bot), orgStatsTag.of(ORG)];
    const bots = await postgres.write(who, [{ bot, figure: 'total' }], tags);
    const [newer] = await postgres.read(who, this.helping.since, (now) => {
      const { total } = of(now, bot);
      return [{ value: { [bot]: { total } }, version: total }];
    });
    if (newer) await this.resources.stats.replace(bot, newer, [orgStatsTag.of(ORG)]);
    return of(bots, bot).total;
  }

  /** What the process knows and has cached. */
  get state(): string {
    const { log, helping, answers, store } = this;
    return [log.knownUpTo, helping.helped.snapshot, answers.size, store.network, store.available].join(' ');
  }

  /** Reads the log, as a server does ten times a second. */
  async poll(): Promise<void> {
    await this.log.confirm();
    this.system.ledger.isPolled(this.name);
  }

  /** The network has recovered: does what a server does before it uses Redis again. */
  async recover(): Promise<void> {
    this.store.network = 'up';
    if (this.store.available) return;
    for (const work of this.recoveries) await work();
    this.system.ledger.isPolled(this.name);
    this.store.close();
  }
}

type Resources = Readonly<Record<ResourceName, CachedResource<string, View>>>;

const of = (bots: Bots, id: string): Figures => bots[id] as Figures;

interface Described {
  readonly description: Pick<Resource<string, View>, 'key' | 'tags' | 'maxKeys'>;
  readonly select: (bots: Bots, id: string) => View;
  readonly version?: (bots: Bots, id: string) => number;
}

const DESCRIBED: Readonly<Record<ResourceName, Described>> = {
  bot: {
    description: { key: 'bot:{id}', tags: [botTag] },
    select: (bots, id) => ({ [id]: { version: of(bots, id).version } }),
  },
  stats: {
    description: { key: 'bot:{id}:stats', tags: [statsTag] },
    select: (bots, id) => ({ [id]: { total: of(bots, id).total } }),
    version: (bots, id) => of(bots, id).total,
  },
  details: {
    description: { key: 'bot:{id}:details', tags: [botTag, statsTag] },
    select: (bots, id) => ({ [id]: of(bots, id) }),
  },
  organization: {
    description: { key: 'org:{id}:stats', tags: [orgTag, orgStatsTag] },
    select: (bots) => Object.fromEntries(Object.entries(bots).map(([id, { total }]) => [id, { total }])),
  },
  page: {
    description: { key: 'bots:{id}', tags: [orgTag], maxKeys: 1_000 },
    select: (bots) => Object.fromEntries(Object.entries(bots).map(([id, { version }]) => [id, { version }])),
  },
};

/** A resource of a process, whose loads read from this database or transaction. */
function describe(process: string, name: ResourceName, from: ReadOnly): Resource<string, View> {
  const { description, select, version } = DESCRIBED[name];
  return {
    ...description,
    name,
    shape: {},
    ttlSeconds: 300,
    params: (id) => ({ id }),
    load: async (ids, since): Promise<readonly Snapshotted<View>[]> =>
      await from.read(`${process}: ${name}`, since, (bots) =>
        ids.map((id) => ({ value: select(bots, id), ...(version ? { version: version(bots, id) } : {}) })),
      ),
  };
}

/** Several processes on one Redis and one PostgreSQL. */
export class System {
  readonly redis = new ModelRedis();
  readonly steps: Steps;
  readonly postgres: ModelPostgres;
  readonly ledger: Ledger;
  readonly processes: readonly Process[];

  constructor(
    scheduler: Scheduler,
    readonly parts: Parts,
    readonly cluster: boolean,
    processes: number,
    delays: readonly number[],
    isOrdered: boolean,
  ) {
    this.steps = new Steps(scheduler, delays);
    this.postgres = new ModelPostgres(this.steps, BOTS);
    this.ledger = new Ledger(this.postgres.states, isOrdered);
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
  async writeOutside(what: OutsideWrite, bot: string, who: string): Promise<void> {
    const bots = what === 'one' ? [bot] : BOTS;
    const changes = bots.map((each): Change => ({ bot: each, figure: 'version' }));
    const tags = what === 'everything' ? [EVERYTHING] : [...bots.map(botTag.of), orgTag.of(ORG)];
    await this.postgres.write(who, changes, tags);
  }

  /** Everything that decides what can happen next, except for the steps under way. */
  get state(): string {
    const { redis, postgres, ledger, processes } = this;
    return [redis.state, postgres.state, ledger.state, ...processes.map(({ state }) => state)].join('\n');
  }
}
