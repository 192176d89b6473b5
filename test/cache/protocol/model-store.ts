import { CacheUnavailableError } from '../../../src/cache/core/errors.js';
import { hashTagOf } from '../../../src/cache/core/keys.js';
import { freshGeneration } from '../../../src/cache/core/fresh-generation.js';
import type { Replaced } from '../../../src/cache/core/observer.js';
import type {
  CacheStore,
  Claim,
  CurrentGenerations,
  Fill,
  FillOutcome,
  Lock,
  ReadOrClaimed,
  Removal,
  Replacement,
  EntryKeys,
  KeyIndex,
  LoggedWrites,
  Stored,
} from '../../../src/cache/redis/cache-store.js';
import { EVERYTHING_KEY, type ModelRedis } from './model-redis.js';
import type { Steps } from './steps.js';

/** The network between a process and Redis; `late`: commands arrive after their timeout. */
export type Network = 'up' | 'down' | 'late';

/**
 * A process's connection to Redis. Each command arrives in a step of its own, in any order, and its reply in a later step;
 * real connections keep the order.
 */
export class ModelStore implements CacheStore {
  network: Network = 'up';
  /** Whether the circuit is open: after a failed call no call is sent until {@link close}. */
  private isOpen = false;
  /** Removals and replacements that have failed. */
  lostInvalidations = 0;
  /** Whether the last claim got a lock; a mutant asks for it. */
  lastClaim = { isMine: true };

  constructor(
    protected readonly redis: ModelRedis,
    private readonly steps: Steps,
    readonly name: string,
    /** On a cluster the commands of each entity run in separate steps. */
    private readonly cluster: boolean,
  ) {}

  get available(): boolean {
    return !this.isOpen;
  }

  /** Closes the circuit. */
  close(): void {
    this.isOpen = false;
  }

  async read(entries: readonly EntryKeys[]): Promise<Stored[]> {
    if (!this.cluster) {
      const all = (group: readonly EntryKeys[]) => group.map((entry) => this.redis.read(entry));
      return await this.each('read', entries, ({ entityId }) => entityId, all);
    }
    const whole: (EntryKeys | undefined)[] = [undefined, ...entries];
    const replies = await this.each(
      'read',
      whole,
      (entry) => entry?.entityId ?? EVERYTHING_KEY,
      (group) => group.map((entry) => (entry ? this.redis.read(entry) : this.redis.everything)),
    );
    const [everything, ...stored] = replies as [string, ...Stored[]];
    return stored.map((each) => ({ ...each, everything }));
  }

  async readGenerations(keys: readonly string[], onSend: () => void): Promise<CurrentGenerations> {
    if (!this.isOpen) await this.steps.next(`${this.name} is about to send`);
    onSend();
    const names = [EVERYTHING_KEY, ...keys];
    const all = (group: readonly string[]) => group.map((key) => this.redis.get(key) ?? null);
    const [everything, ...generations] = await this.each('check', names, hashTagOf, all);
    return { generations, everything: everything ?? '' };
  }

  /** In two steps, so that anything can happen between them: the server's one step is a case of it. */
  async readOrClaim(entries: readonly EntryKeys[], token: string): Promise<ReadOrClaimed> {
    const stored: (Stored | undefined)[] = await this.read(entries);
    const isMissing = stored.every((each) => !each?.raw);
    return { stored: stored as Stored[], claims: isMissing ? await this.claim(entries, token) : undefined };
  }

  async claim(entries: readonly EntryKeys[], token: string): Promise<Claim[]> {
    const all = (group: readonly EntryKeys[]) => this.redis.claim(group, token);
    const claims = await this.each('claim', entries, ({ entityId }) => entityId, all);
    this.lastClaim = { isMine: claims.some(({ mine }) => mine) };
    return claims;
  }

  /** The outcome is only for metrics, so the model does not tell it. */
  async fill(fills: readonly Fill[]): Promise<FillOutcome> {
    const all = (group: readonly Fill[]) => group.map((fill) => this.redis.fill(fill));
    await this.each('fill', fills, ({ keys }) => keys.entityId, all);
    return { stored: 0, outdated: 0 };
  }

  async release(locks: readonly Lock[]): Promise<void> {
    const all = (group: readonly Lock[]) => group.map((lock) => this.redis.release(lock));
    await this.each('release', locks, ({ key }) => key, all);
  }

  /** As for {@link fill}, the outcome is not told. */
  async replace(
    entry: EntryKeys,
    others: readonly string[],
    newer: Replacement,
    _indexes: readonly KeyIndex[] = [],
    removals: readonly Removal[] = [],
  ): Promise<Replaced> {
    const commands = [
      () => this.redis.replace(entry, others, newer),
      ...removals.map((removal) => () => this.redis.remove(removal)),
    ];
    const entryOf = (command: () => void) => String(commands.indexOf(command));
    const all = (group: readonly (() => void)[]) => group.map((command) => command());
    await this.counted(this.each('replace', commands, entryOf, all));
    return 'removed';
  }

  async remove(removals: readonly Removal[], _operation: string, whileOpen = false): Promise<void> {
    const all = (group: readonly Removal[]) => group.map((removal) => this.redis.remove(removal));
    const name = ({ keys }: Removal) => keys[0] ?? '';
    await this.counted(this.each('remove', removals, name, all, whileOpen));
  }

  async addWrites({ ofTags, ofEverything }: LoggedWrites, whileOpen = false): Promise<void> {
    const token = freshGeneration();
    const commands = ofTags.map((write) => ({
      name: write.key,
      run: () => this.redis.addWrites([write], token),
    }));
    const run = () => this.redis.addWritesOfEverything(ofEverything);
    if (ofEverything.length > 0) commands.push({ name: EVERYTHING_KEY, run });
    const all = (group: readonly (typeof commands)[number][]) => group.map((command) => command.run());
    await this.counted(this.each('help', commands, ({ name }) => hashTagOf(name), all, whileOpen));
  }

  readHeads(): Promise<never> {
    return Promise.reject(new Error('There is no sweep here: nothing may depend on it'));
  }

  readIndexes(): Promise<never> {
    return Promise.reject(new Error('There is no sweep here: nothing may depend on it'));
  }

  private async counted<T>(invalidation: Promise<T>): Promise<void> {
    try {
      await invalidation;
    } catch (error) {
      this.lostInvalidations += 1;
      throw error;
    }
  }

  private async each<Item, Result>(
    operation: string,
    items: readonly Item[],
    entityOf: (item: Item) => string,
    run: (group: readonly Item[]) => readonly Result[],
    whileOpen = false,
  ): Promise<Result[]> {
    if (this.isOpen && !whileOpen) throw new CacheUnavailableError('open');
    const groups = this.cluster ? byEntity(items, entityOf) : [items];
    const results = new Map<Item, Result>();
    await Promise.all(
      groups.map(async (group) => {
        await this.roundTrip(operation, () => {
          run(group).forEach((result, i) => results.set(group[i] as Item, result));
        });
      }),
    );
    return items.map((item) => results.get(item) as Result);
  }

  private async roundTrip(operation: string, run: () => void): Promise<void> {
    const label = `${this.name}: ${operation}`;
    if (this.network === 'up') {
      await this.steps.next(`${label} arrives`);
      run();
      await this.steps.next(`${label} is answered`);
    } else if (this.network === 'late') {
      void this.steps.next(`${label} arrives late`).then(run);
      await this.steps.next(`${label} is given up`);
    } else {
      await this.steps.next(`${label} fails`);
    }
    if (this.network === 'up') return;
    this.isOpen = true;
    throw new CacheUnavailableError(this.network);
  }
}

function byEntity<Item>(items: readonly Item[], entityOf: (item: Item) => string): Item[][] {
  const groups = new Map<string, Item[]>();
  for (const item of items) groups.set(entityOf(item), [...(groups.get(entityOf(item)) ?? []), item]);
  return [...groups.values()];
}
