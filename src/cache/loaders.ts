import DataLoader from 'dataloader';

import type { CachedResource, ReadDependencies } from './core/resource.js';
import { within, type Work } from './core/work.js';

/** The maximum number of ids in one read of a loader. */
const MAX_BATCH = 1_000;

const keyOf = (id: unknown): string => (typeof id === 'string' ? id : JSON.stringify(id));

/** A batch of ids that are read together. */
interface Batch<Id, Value> {
  readonly ids: Id[];
  readonly values: Promise<(Value | null)[]>;
}

/** Where the value of an id is found. */
interface Place<Id, Value> {
  readonly batch: Batch<Id, Value>;
  readonly at: number;
}

/**
 * Reads the values of one resource for one request: ids that are requested in one turn of the event loop in one batch,
 * and each id once. `load` makes several promises for each id, {@link loadAll} one for a batch; a request that uses both
 * for one id may read it twice.
 */
export class ResourceLoader<Id, Value> extends DataLoader<Id, Value | null, string> {
  private readonly places = new Map<string, Place<Id, Value>>();
  /** The batch that was not read yet. */
  private next: Batch<Id, Value> | undefined;

  constructor(
    private readonly cached: CachedResource<Id, Value>,
    private readonly dependencies: ReadDependencies | undefined,
    private readonly work: Work | undefined,
  ) {
    super((ids) => within(work, () => cached.readMany(ids, dependencies)), {
      maxBatchSize: MAX_BATCH,
      cacheKeyFn: keyOf,
    });
  }

  /** Returns the values of ids, aligned; null where there is no row. Ids may repeat. */
  async loadAll(ids: readonly Id[]): Promise<(Value | null)[]> {
    const places = ids.map((id) => this.placeOf(id));
    const batches = new Set(places.map(({ batch }) => batch));
    const values = new Map<Batch<Id, Value>, (Value | null)[]>();
    for (const batch of batches) values.set(batch, await batch.values);
    return places.map(({ batch, at }) => values.get(batch)?.[at] ?? null);
  }

  /** See {@link CachedResource.lastSeen}. */
  lastSeen(id: Id): Value | undefined {
    return this.cached.lastSeen?.(id);
  }

  /** This loader, whose requests for values are told to `onAsk`. */
  observedBy(onAsk: (resource: string, id: unknown) => void): this {
    const { name } = this.cached;
    const load: this['load'] = async (id) => {
      onAsk(name, id);
      return await this.load(id);
    };
    const loadAll: this['loadAll'] = async (ids) => {
      for (const id of ids) onAsk(name, id);
      return await this.loadAll(ids);
    };
    return Object.assign(Object.create(this) as this, { load, loadAll });
  }

  override clearAll(): this {
    this.places.clear();
    return super.clearAll();
  }

  private placeOf(id: Id): Place<Id, Value> {
    const key = keyOf(id);
    let place = this.places.get(key);
    if (!place) {
      const batch = this.next && this.next.ids.length < MAX_BATCH ? this.next : this.open();
      place = { batch, at: batch.ids.push(id) - 1 };
      this.places.set(key, place);
    }
    return place;
  }

  private open(): Batch<Id, Value> {
    const ids: Id[] = [];
    const values = afterPromises().then(async () => {
      if (this.next === batch) this.next = undefined;
      return await within(this.work, () => this.cached.readMany(ids, this.dependencies));
    });
    // A caller of several batches waits for one after the other.
    values.catch(() => undefined);
    const batch = { ids, values };
    this.next = batch;
    return batch;
  }
}

/** Resolves when the promises of this turn have gone on as far as they can, as DataLoader's batches do. */
const afterPromises = async (): Promise<void> =>
  await new Promise((resolve) => {
    void Promise.resolve().then(() => process.nextTick(resolve));
  });

type LoaderOf<Cached> =
  Cached extends CachedResource<infer Id, infer Value> ? ResourceLoader<Id, Value> : never;

/** A loader for each resource, by the same names. */
export type Loaders<Resources> = { readonly [Name in keyof Resources]: LoaderOf<Resources[Name]> };

/**
 * Makes a loader for each resource, for one request. The request clears the loaders after a write.
 * @param dependencies collects the dependencies of the values, if the response is to be cached
 * @param work that the reads are parts of
 */
export function createLoaders<Resources extends object>(
  resources: Resources,
  dependencies?: ReadDependencies,
  work?: Work,
): Loaders<Resources> {
  let kind = kinds.get(resources);
  if (!kind) kinds.set(resources, (kind = kindOf(resources)));
  return new kind(dependencies, work) as unknown as Loaders<Resources>;
}

/** Names that no resource can have. */
const MADE = Symbol('made');
const DEPENDENCIES = Symbol('dependencies');
const WORK = Symbol('work');

/** The loaders of one request: each is made when it is first used. */
class RequestLoaders {
  readonly [MADE] = new Map<string, ResourceLoader<unknown, unknown>>();
  readonly [DEPENDENCIES]: ReadDependencies | undefined;
  readonly [WORK]: Work | undefined;

  constructor(dependencies: ReadDependencies | undefined, work: Work | undefined) {
    this[DEPENDENCIES] = dependencies;
    this[WORK] = work;
  }
}

/** The classes of loaders, by their resources. */
const kinds = new WeakMap<object, typeof RequestLoaders>();

/** A class whose properties are the loaders of these resources. */
function kindOf(resources: object): typeof RequestLoaders {
  const kind = class extends RequestLoaders {};
  for (const [name, cached] of Object.entries(resources) as [string, CachedResource<unknown, unknown>][]) {
    Object.defineProperty(kind.prototype, name, {
      get(this: RequestLoaders) {
        let loader = this[MADE].get(name);
        if (!loader) {
          loader = new ResourceLoader(cached, this[DEPENDENCIES], this[WORK]);
          this[MADE].set(name, loader);
        }
        return loader;
      },
    });
  }
  return kind;
}

/** The same loaders for one reader, whose requests for values are told to `onAsk`. */
export function observedLoaders<Observed extends object>(
  loaders: Observed,
  onAsk: (resource: string, id: unknown) => void,
): Observed {
  return new Proxy(loaders, {
    get(target, name) {
      const loader: unknown = Reflect.get(target, name);
      return loader instanceof ResourceLoader ? loader.observedBy(onAsk) : loader;
    },
  });
}

/** Clears loaders, so that the rest of the request reads again. */
export function clearLoaders(loaders: object): void {
  for (const loader of (loaders as RequestLoaders)[MADE].values()) loader.clearAll();
}
