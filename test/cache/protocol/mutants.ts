import { pino } from 'pino';

import type { Replaced } from '../../../src/cache/core/observer.js';
import { InvalidationLog } from '../../../src/cache/invalidation/invalidation-log.js';
import type {
  Claim,
  CurrentGenerations,
  Fill,
  FillOutcome,
  EntryKeys,
  LoggedWrites,
  Removal,
  Stored,
} from '../../../src/cache/redis/cache-store.js';
import { Helping } from '../../../src/cache/invalidation/helping.js';
import { MomentCheck } from '../../../src/cache/response/moment-check.js';
import { Reloads } from '../../../src/cache/reader/reloads.js';
import { SingleFlight } from '../../../src/cache/reader/single-flight.js';
import { ModelStore } from './model-store.js';
import { REAL, type Parts } from './system.js';

/** The protocol with one part broken. */
export interface Mutant {
  readonly name: string;
  /** The kind of scenario that finds the mutant soonest: without faults, or with invalidations that Redis loses. */
  readonly among: 'healthy' | 'narrow' | 'outside' | 'outsideNarrow' | 'logged' | 'refreshed' | 'faulty';
  /** A seed that finds the mutant soon. */
  readonly seed: number;
  /** Breaks the part while `use` runs. */
  with<T>(use: (parts: Parts) => Promise<T>): Promise<T>;
}

const mutant = (name: string, among: Mutant['among'], parts: Partial<Parts>, seed = 6): Mutant => ({
  name,
  among,
  seed,
  with: async (use) => await use({ ...REAL, ...parts }),
});

const store = (
  name: string,
  Wrong: typeof ModelStore,
  among: Mutant['among'] = 'healthy',
  seed = 6,
): Mutant => mutant(name, among, { createStore: (...args) => new Wrong(...args) }, seed);

const any = (entry: EntryKeys): string => entry.generations.map(() => 'any').join('.');

/** Reads and fills ignore generations: the cache is plain GET, SET and DEL. */
class WithoutGenerations extends ModelStore {
  override async read(entries: readonly EntryKeys[]): Promise<Stored[]> {
    const stored = await super.read(entries);
    return stored.map((each, i) => ({ ...each, generation: any(entries[i] as EntryKeys) }));
  }
  override async claim(entries: readonly EntryKeys[], token: string): Promise<Claim[]> {
    const claims = await super.claim(entries, token);
    return claims.map((claimed, i) => ({ ...claimed, generation: any(entries[i] as EntryKeys) }));
  }
  override async fill(fills: readonly Fill[]): Promise<FillOutcome> {
    const outcome = await super.fill(fills);
    for (const { keys, envelope } of fills) this.redis.set(keys.key, envelope);
    return outcome;
  }
}

/** Generations count up from 1, so an evicted one returns to an earlier value. */
class WithCounters extends ModelStore {
  override async claim(entries: readonly EntryKeys[]): Promise<Claim[]> {
    return await super.claim(entries, '1');
  }
  override async remove(removals: readonly Removal[], operation: string, whileOpen?: boolean): Promise<void> {
    const isGeneration = (key: string) => key.endsWith(':gen');
    const generations = removals.flatMap(({ keys }) => keys.filter(isGeneration));
    const counted = generations.map((key) => [key, Number(this.redis.get(key) ?? 0) + 1] as const);
    await super.remove(removals, operation, whileOpen);
    for (const [key, count] of counted) this.redis.set(key, String(count));
  }
}

/** A fill stores the loaded value under the generation at the time of the fill. */
class WithUncheckedFills extends ModelStore {
  override async fill(fills: readonly Fill[]): Promise<FillOutcome> {
    return await super.fill(
      fills.map((fill) => {
        const generation = this.redis.read(fill.keys).generation ?? fill.generation;
        return { ...fill, generation, envelope: fill.envelope.replace(fill.generation, generation) };
      }),
    );
  }
}

/** A writer's statistics replace cached ones even if the cached ones are newer. */
class WithCarelessReplacements extends ModelStore {
  override async replace(
    ...[entry, others, newer, ...rest]: Parameters<ModelStore['replace']>
  ): Promise<Replaced> {
    return await super.replace(entry, others, { ...newer, version: Number.MAX_SAFE_INTEGER }, ...rest);
  }
}

/** Cached responses share a check of their generations until its reply arrives, not only until it is sent. */
class WithLateChecks extends ModelStore {
  override async readGenerations(keys: readonly string[], onSend: () => void): Promise<CurrentGenerations> {
    try {
      return await super.readGenerations(keys, () => {});
    } finally {
      onSend();
    }
  }
}

/** A helper adds a write to the generation of one of its tags only. */
class WithLonelyHelp extends ModelStore {
  override async addWrites(writes: LoggedWrites, whileOpen?: boolean): Promise<void> {
    await super.addWrites({ ...writes, ofTags: writes.ofTags.slice(0, 1) }, whileOpen);
  }
}

/** Readers look only at the tokens of generations. */
class WithoutAddedWrites extends ModelStore {
  override async read(entries: readonly EntryKeys[]): Promise<Stored[]> {
    const stored = await super.read(entries);
    return stored.map((each) => ({ ...each, generation: each.generation?.replaceAll(/:[\d,]*/g, '') }));
  }
}

/** Readers ignore the writes that changed everything. */
class WithoutEverything extends ModelStore {
  override async read(entries: readonly EntryKeys[]): Promise<Stored[]> {
    const stored = await super.read(entries);
    return stored.map((each) => ({ ...each, everything: '' }));
  }
}

/** Values are shown as soon as they are loaded. */
class NoHelping extends Helping {
  override admit(): undefined {
    return undefined;
  }
}

/** Values are shown as soon as they are loaded, if another process has claimed the load, so that nothing is stored. */
class NoHelpingWithoutFill extends Helping {
  constructor(
    private readonly store: ModelStore,
    ...args: ConstructorParameters<typeof Helping>
  ) {
    super(...args);
  }
  override admit(moments: readonly string[]): Promise<void> | undefined {
    return this.store.lastClaim.isMine ? super.admit(moments) : undefined;
  }
}

/** An answer is shown whatever moments its values are of. */
class NoMomentCheck extends MomentCheck {
  override async holds(): Promise<boolean> {
    return await Promise.resolve(true);
  }
}

const options = { log: pino({ level: 'silent' }), intervalMs: 3_600_000 };

/** The log check accepts every snapshot. */
class BlindLog extends InvalidationLog {
  override accepts(): boolean {
    return true;
  }
}

const { get, set } = SingleFlight.prototype;
const keyAlone = (flight: string): string => flight.slice(0, flight.indexOf('|'));

/** A reader joins any pending load of its key, of whichever generation. */
const joinedByKey: Mutant = {
  name: 'loads joined by key alone',
  among: 'narrow',
  seed: 6,
  async with(use) {
    SingleFlight.prototype.get = function (flight) {
      return get.call<typeof this, [string], ReturnType<typeof this.get>>(this, keyAlone(flight));
    };
    SingleFlight.prototype.set = function (flights, batch) {
      set.call(this, flights.map(keyAlone), batch);
    };
    try {
      return await use(REAL);
    } finally {
      Object.assign(SingleFlight.prototype, { get, set });
    }
  },
};

const { reload } = Reloads.prototype;

/** What a mutant needs of a reload's private parts. */
interface ReloadParts {
  readonly parts: { load: (reads: readonly object[]) => Promise<readonly unknown[]> };
}

/** A value is loaded again, and only then claimed. */
const loadedBeforeItsClaim: Mutant = {
  name: 'values that are loaded again before their claim',
  among: 'refreshed',
  seed: 6,
  async with(use) {
    Reloads.prototype.reload = async function (entries, mayStay) {
      const { parts } = this as unknown as ReloadParts;
      const loaded = await parts.load(entries.map((entry) => ({ entry, generation: undefined })));
      const late = Object.assign(Object.create(Reloads.prototype) as typeof this, {
        parts: { ...parts, load: async () => await Promise.resolve(loaded) },
      });
      return await reload.call(late, entries, mayStay);
    };
    try {
      return await use(REAL);
    } finally {
      Object.assign(Reloads.prototype, { reload });
    }
  },
};

export const MUTANTS: readonly Mutant[] = [
  store('no generations', WithoutGenerations),
  joinedByKey,
  loadedBeforeItsClaim,
  store('counters instead of random generations', WithCounters),
  store('fills under the generation of the moment', WithUncheckedFills, 'narrow', 7),
  store('replacements without a look at the versions', WithCarelessReplacements, 'narrow'),
  store('checks of cached responses shared until the reply', WithLateChecks, 'narrow'),
  mutant('invalidation before the commit', 'healthy', { invalidatesEarly: true }),
  mutant('values shown without helping', 'outsideNarrow', {
    createHelping: (_, ...args) => new NoHelping(...args),
  }),
  mutant('values shown without helping where nothing is stored', 'outsideNarrow', {
    createHelping: (...args) => new NoHelpingWithoutFill(...args),
  }),
  store('help for one of several tags', WithLonelyHelp, 'outsideNarrow'),
  store('readers that ignore added writes', WithoutAddedWrites, 'outside'),
  store('readers that ignore writes of everything', WithoutEverything, 'outside'),
  mutant('answers of several moments', 'outsideNarrow', {
    createCheck: (...args) => new NoMomentCheck(...args),
  }),
  mutant('no log check', 'faulty', { createLog: (source) => new BlindLog({ ...options, source }) }),
  mutant('a log read by ascending ids', 'logged', {
    createLog: (source) =>
      new InvalidationLog({
        ...options,
        source: {
          ...source,
          // Ignores the running transactions, so a late commit is skipped.
          poll: async (since) => {
            const [, xmax = ''] = since.split(':');
            return await source.poll(`${xmax}:${xmax}:`);
          },
        },
      }),
  }),
];
