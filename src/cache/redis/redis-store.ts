import { Command } from 'ioredis';

import { CacheUnavailableError } from '../errors.js';
import { isSplit, type RedisClient } from './redis-client.js';
import { hashTagOf } from './keys.js';
import type { RedisOperation } from '../observer.js';
import { costOf, cut, cutForCommands } from './pieces.js';
import type { RedisCircuitBreaker } from './redis-circuit-breaker.js';
import { refusalOf } from './redis-refusal.js';
import { CLAIM, DROP_INDEXED, FILL, RELEASE, REPLACE } from './scripts.js';

/** The live keys of an entity that cannot be named from its id alone. */
export interface KeyIndex {
  readonly key: string;
  /** What comes beyond that removes the keys that would end first. */
  readonly maxEntries: number;
}

/** Where one value lives: everything it touches in Redis. */
export interface EntryKeys {
  /** The entity's id; on a cluster all keys of one entity share a hash slot. */
  readonly entityId: string;
  readonly key: string;
  /** The generation keys of the value's tags, in the order of the resource's declaration. */
  readonly generations: readonly string[];
  readonly index: KeyIndex | undefined;
  /** How large the value is expected to be, in bytes: as it was last seen, or as others of its kind. */
  bytes: number;
}

/** What Redis holds for a slot: the stored bytes, and the generations joined by dots if all of them exist. */
export interface Stored {
  readonly raw: string | null;
  readonly generation: string | undefined;
}

/** A lock that lets one process load a batch of missing values for all. */
export interface Lock {
  readonly key: string;
  /** What it holds while it is the one that was taken. */
  readonly holds: string;
}

/** The outcome of a claim: the generation to fill under, and whether this process is the one to load. */
export interface Claim {
  readonly generation: string;
  readonly mine: boolean;
  /** Shared by all values that were claimed together. */
  readonly lock: Lock;
}

export interface Fill {
  readonly slot: EntryKeys;
  readonly generation: string;
  readonly lock: Lock;
  readonly envelope: string;
  /** The length of the envelope. */
  readonly bytes: number;
  readonly ttlMs: number;
  /** Whether the envelope holds a value; otherwise it says that there is none. */
  readonly exists: boolean;
}

/** Keys to remove, for one entity. */
export interface Removal {
  readonly keys: readonly string[];
  readonly indexes: readonly KeyIndex[];
}

/**
 * Life of a generation under which a value was stored: longer than any value lives, so that the value never outlives it.
 * If one expires all the same, the next one is another random token: nothing old comes back to life.
 */
export const GENERATION_LIFE_MS = 720_000;
/**
 * Life of a generation that was made for a load, of which nobody knows yet whether it finds anything: as long as any
 * load may take. Otherwise whoever asks for ids that do not exist fills Redis with generations.
 */
export const CLAIM_LIFE_MS = 60_000;
/** Longer than nearly every load; a lock that runs out early only lets a second process load. */
const LOCK_LIFE_MS = 2_000;
/** Enough for the generations and the snapshot of nearly every envelope; a longer one counts as outdated. */
const HEAD_BYTES = 2_047;
/** What removing all that an index lists is reckoned to cost. */
const dropCost = ({ maxEntries }: KeyIndex): number => costOf(maxEntries / 5);
/** What reading all that an index lists is reckoned to cost. */
const listCost = ({ maxEntries }: KeyIndex): number => costOf(1, maxEntries * 120);
/** The most that one round trip costs, see {@link costOf}; larger operations take several, one after another. */
const MAX_ROUND_TRIP_COST = 1_000;
/** The most values in one read; larger ones take several. */
const MAX_SLOTS_A_READ = 300;
/** What is taken for the size of a generation, in bytes. */
const GENERATION_BYTES = 40;

/** One command of an operation. */
interface Task<Result> {
  readonly cost: number;
  readonly send: (client: RedisClient) => Promise<Result>;
}

/**
 * The cache's operations, each one round trip for as many values as requests usually ask for. On a standalone Redis each
 * is one command; on Redis Cluster one for each entity, sent together to the nodes that hold them. Operations on very
 * many or very large values are cut into several commands and round trips, between which Redis serves others.
 */
export class RedisStore {
  private batch: ReadBatch | undefined;

  constructor(
    private readonly circuitBreaker: RedisCircuitBreaker,
    private readonly cluster: boolean,
  ) {}

  /** Reads values together with their generations. The result is aligned with `slots`. */
  async read(slots: readonly EntryKeys[]): Promise<Stored[]> {
    if (slots.length <= MAX_SLOTS_A_READ) return await this.readTogether(slots);
    const pieces = cut(slots, () => 1, MAX_SLOTS_A_READ);
    return (await Promise.all(pieces.map(async (piece) => await this.readTogether(piece)))).flat();
  }

  private async readTogether(slots: readonly EntryKeys[]): Promise<Stored[]> {
    const batch = this.openBatch();
    const layout = slots.map((slot) => layOut(slot, batch.keys));
    const replies = await batch.replies;
    return layout.map((positions) => stored(positions, replies));
  }

  /**
   * Reads generations. The result is aligned with `keys`; null where there is none.
   * @param onSend called just before the request is sent, or fails: who comes later has to ask again.
   */
  async readGenerations(keys: readonly string[], onSend: () => void): Promise<(string | null)[]> {
    if (!this.circuitBreaker.available) onSend();
    const batch = this.openBatch();
    const positions = keys.map((key) => batch.keys.position(key, GENERATION_BYTES));
    batch.beforeSend.push(onSend);
    const replies = await batch.replies;
    return positions.map((position) => replies[position] ?? null);
  }

  /**
   * The read that goes out at the end of this turn of the event loop. All readers of the process that come until then
   * share it, and a key that several of them want is read once. It is no older for any of them: it has not begun yet.
   * Once it is large enough for a round trip, who comes later begins another.
   */
  private openBatch(): ReadBatch {
    if (this.batch && this.batch.keys.cost < MAX_ROUND_TRIP_COST) return this.batch;
    if (!this.circuitBreaker.available) throw new CacheUnavailableError(this.circuitBreaker.outage);
    const keys = new KeyList();
    const beforeSend: (() => void)[] = [];
    const replies = new Promise<void>((resolve) => {
      setImmediate(resolve);
    }).then(async () => {
      if (this.batch === batch) this.batch = undefined;
      for (const notify of beforeSend) notify();
      const readAll = this.cluster ? readFromCluster : readFromOne;
      return await this.circuitBreaker.run('read', async (client) => await readAll(client, keys), keys.cost);
    });
    const batch: ReadBatch = { keys, replies, beforeSend };
    this.batch = batch;
    return batch;
  }

  /**
   * Claims the load of missing values; see {@link CLAIM}. The result is aligned with `slots`; undefined where nothing
   * can be claimed, because a cluster is moving the keys.
   */
  async claim(slots: readonly EntryKeys[], token: string): Promise<(Claim | undefined)[]> {
    const groups = (this.cluster ? byEntity(slots) : [slots]).flatMap((group) =>
      cutForCommands(group, ({ generations }) => generations.length),
    );
    const claimGroup = async (
      client: RedisClient,
      group: readonly EntryKeys[],
    ): Promise<readonly (Claim | undefined)[]> => {
      const [first] = group;
      if (!first) return [];
      const lockKey = `${first.key}:lock`;
      const keys = [lockKey];
      for (const { generations } of group) keys.push(...generations);
      const reply = await unlessSplit(
        client.eval(CLAIM, keys.length, ...keys, token, CLAIM_LIFE_MS, LOCK_LIFE_MS),
        undefined,
      );
      if (reply === undefined) return group.map(() => undefined);
      const [outcome = '', ...tokens] = reply as string[];
      const mine = outcome.startsWith('+');
      const lock = { key: lockKey, holds: outcome.slice(1) };
      const each = first.generations.length;
      return group.map((_, i) => ({
        mine,
        lock,
        generation: each === 1 ? (tokens[i] ?? '') : tokens.slice(i * each, (i + 1) * each).join('.'),
      }));
    };
    const claims = await this.inRoundTrips(
      'claim',
      groups.map((group) => ({
        cost: costOf(group.length * (group[0]?.generations.length ?? 1)),
        send: async (client) => await claimGroup(client, group),
      })),
    );
    return claims.flat();
  }

  /** Stores loaded values whose generations are still current; see {@link FILL}. */
  async fill(fills: readonly Fill[]): Promise<void> {
    const fillGroup = async (
      client: RedisClient,
      group: readonly Fill[],
      freesLock: boolean,
    ): Promise<void> => {
      const [first] = group;
      if (!first) return;
      const { slot, lock } = first;
      const keys = [lock.key];
      const args: (string | number)[] = [
        slot.generations.length,
        slot.index === undefined ? 0 : 1,
        slot.index?.maxEntries ?? 0,
        freesLock ? lock.holds : '',
        GENERATION_LIFE_MS,
        CLAIM_LIFE_MS,
      ];
      for (const fill of group) {
        keys.push(...fill.slot.generations);
        args.push(fill.generation, fill.envelope, fill.ttlMs, fill.exists ? 1 : 0);
      }
      for (const fill of group) keys.push(fill.slot.key);
      if (slot.index !== undefined) for (const fill of group) keys.push(fill.slot.index?.key ?? '');
      await unlessSplit(client.eval(FILL, keys.length, ...keys, ...args), undefined);
    };
    // What was claimed together is loaded, and filled, together; the last of its pieces frees the lock.
    const tasks = inGroups(fills, ({ lock }) => lock.key).flatMap((group) => {
      const pieces = cutForCommands(
        group,
        ({ slot }) => slot.generations.length + 1,
        ({ bytes }) => bytes,
      );
      return pieces.map((piece, i) => ({
        cost: costOf(
          piece.length * (1 + (piece[0]?.slot.generations.length ?? 1)),
          piece.reduce((sum, { bytes }) => sum + bytes, 0),
        ),
        send: async (client: RedisClient) => await fillGroup(client, piece, i === pieces.length - 1),
      }));
    });
    await this.inRoundTrips('fill', tasks);
  }

  /** Frees locks of loads that have failed; see {@link RELEASE}. */
  async release(locks: readonly Lock[]): Promise<void> {
    const groups = this.cluster ? locks.map((lock) => [lock]) : cutForCommands(locks, () => 1);
    await this.inRoundTrips(
      'release',
      groups.map((group) => ({
        cost: costOf(group.length),
        send: async (client) =>
          await client.eval(
            RELEASE,
            group.length,
            ...group.map(({ key }) => key),
            ...group.map(({ holds }) => holds),
          ),
      })),
    );
  }

  /**
   * Replaces a stored value under a new generation; see {@link REPLACE}. `others`, and what `indexes` list, depend on the
   * same tag. In the same round trip it removes what other tags outdate.
   */
  async replace(
    { key, generations }: EntryKeys,
    others: readonly string[],
    newer: {
      readonly token: string;
      readonly envelope: string;
      readonly ttlMs: number;
      readonly version: number;
    },
    indexes: readonly KeyIndex[] = [],
    removals: readonly Removal[] = [],
  ): Promise<void> {
    const keys = [key, ...generations, ...others, ...indexes.map((index) => index.key)];
    const { token, envelope, ttlMs, version } = newer;
    const replace = async (client: RedisClient): Promise<void> => {
      // A Redis that refuses something is read by nobody here: to others it is enough to remove what is outdated.
      if (this.circuitBreaker.state === 'degraded') return await unlink(client, keys);
      try {
        const args = [token, GENERATION_LIFE_MS, envelope, ttlMs, version, indexes.length];
        await client.eval(REPLACE, keys.length, ...keys, ...args);
      } catch (error) {
        if (!isSplit(error) && !this.isRefusal(error)) throw error;
        await unlinkEach(client, keys);
      }
    };
    const sendAll = together([replace, ...this.removalTasks(removals).map(({ send }) => send)]);
    await this.circuitBreaker.run('invalidate', sendAll);
  }

  /** The heads of stored values, long enough to hold their snapshots; null where there is none. Aligned with `keys`. */
  async readHeads(keys: readonly string[]): Promise<(string | null)[]> {
    const heads = await this.inRoundTrips(
      'sweep',
      keys.map((key) => ({
        cost: costOf(1, HEAD_BYTES),
        send: async (client) => await client.getrange(key, '0', String(HEAD_BYTES)),
      })),
    );
    return heads.map((head) => head || null);
  }

  /** The keys that indexes list. Aligned with `indexes`. */
  async readIndexes(indexes: readonly KeyIndex[]): Promise<string[][]> {
    return await this.inRoundTrips(
      'sweep',
      indexes.map((index) => ({
        cost: listCost(index),
        send: async (client) => await client.zrange(index.key, '0', String(index.maxEntries)),
      })),
    );
  }

  /**
   * Removes generations, values and everything their indexes list. Removing a generation invalidates as surely as
   * replacing it (the next reader makes a new random one), costs no memory, and is allowed in a Redis that is full.
   * @param whileOpen also tries while the circuit is open (recovery), up to the first failure.
   */
  async remove(
    removals: readonly Removal[],
    operation: 'invalidate' | 'sweep',
    whileOpen = false,
  ): Promise<void> {
    const roundTrips = cut(this.removalTasks(removals), ({ cost }) => cost, MAX_ROUND_TRIP_COST);
    const sendAll = (roundTrip: readonly Task<unknown>[]) => together(roundTrip.map(({ send }) => send));
    if (whileOpen) {
      for (const roundTrip of roundTrips) await this.circuitBreaker.attempt(operation, sendAll(roundTrip));
      return;
    }
    throwFirstFailure(
      await Promise.allSettled(
        roundTrips.map(
          async (roundTrip) =>
            await this.circuitBreaker.run(operation, sendAll(roundTrip), totalCost(roundTrip)),
        ),
      ),
    );
  }

  private removalTasks(removals: readonly Removal[]): Task<unknown>[] {
    const groups = this.cluster
      ? removals
      : [{ keys: removals.flatMap((each) => each.keys), indexes: removals.flatMap((each) => each.indexes) }];
    return groups.flatMap(({ keys, indexes }) => [
      ...cutForCommands(keys, () => 1).map((piece) => ({
        cost: costOf(piece.length),
        send: async (client: RedisClient) => await unlink(client, piece),
      })),
      // What an index lists is worth nothing without the generation: if it is left, its TTL or the next one gets it.
      ...indexes.map((index) => ({
        cost: dropCost(index),
        send: async (client: RedisClient) => await this.dropIndexed(client, index.key),
      })),
    ]);
  }

  private async dropIndexed(client: RedisClient, index: string): Promise<void> {
    try {
      await unlessSplit(client.eval(DROP_INDEXED, 1, index), 0);
    } catch (error) {
      if (!this.isRefusal(error)) throw error;
    }
  }

  /** Whether Redis has refused a command that something else can be done for; the circuit is told of it. */
  private isRefusal(error: unknown): boolean {
    const refusal = error instanceof Error ? refusalOf(error) : undefined;
    if (refusal) this.circuitBreaker.noteRefusal('invalidate', refusal);
    return refusal !== undefined;
  }

  /** Sends commands, in order, in as few round trips as their cost allows. The results are aligned. */
  private async inRoundTrips<Result>(
    operation: RedisOperation,
    tasks: readonly Task<Result>[],
  ): Promise<Result[]> {
    const roundTrips = cut(tasks, ({ cost }) => cost, MAX_ROUND_TRIP_COST);
    const results = await Promise.all(
      roundTrips.map(
        async (roundTrip) =>
          await this.circuitBreaker.run(
            operation,
            async (client) => await Promise.all(roundTrip.map(async ({ send }) => await send(client))),
            totalCost(roundTrip),
          ),
      ),
    );
    return results.flat() as Result[];
  }
}

const totalCost = (tasks: readonly { readonly cost: number }[]): number =>
  tasks.reduce((sum, { cost }) => sum + cost, 0);

/**
 * Sends commands together and awaits them all: if one node of a cluster fails, the others must have been told all the same
 * before a write is answered.
 */
const together =
  (sends: readonly Task<unknown>['send'][]) =>
  async (client: RedisClient): Promise<void> =>
    throwFirstFailure(await Promise.allSettled(sends.map(async (send) => await send(client))));

function throwFirstFailure(outcomes: readonly PromiseSettledResult<unknown>[]): void {
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

/** What the protocol asks of a store: the property tests put a model in its place, whose steps they can order. */
export type CacheStore = Pick<RedisStore, keyof RedisStore>;

interface ReadBatch {
  readonly keys: KeyList;
  readonly beforeSend: (() => void)[];
  readonly replies: Promise<(string | null)[]>;
}

/** Distinct keys in the order in which they were first asked for, with how large their values may be. */
class KeyList {
  readonly list: string[] = [];
  readonly bytes: number[] = [];
  private totalBytes = 0;
  private readonly positions = new Map<string, number>();

  get cost(): number {
    return costOf(this.list.length, this.totalBytes);
  }

  position(key: string, bytes: number): number {
    let position = this.positions.get(key);
    if (position === undefined) {
      position = this.list.push(key) - 1;
      this.bytes.push(bytes);
      this.totalBytes += bytes;
      this.positions.set(key, position);
    }
    return position;
  }

  /** The positions of these keys, or of all, cut into pieces for one command each. */
  cut(positions: readonly number[] = [...this.list.keys()]): number[][] {
    return cutForCommands(
      positions,
      () => 1,
      (position) => this.bytes[position] ?? 0,
    );
  }
}

interface Positions {
  readonly value: number;
  readonly generations: readonly number[];
}

const layOut = (slot: EntryKeys, keys: KeyList): Positions => ({
  value: keys.position(slot.key, slot.bytes),
  generations: slot.generations.map((generation) => keys.position(generation, GENERATION_BYTES)),
});

function stored(positions: Positions, replies: readonly (string | null)[]): Stored {
  let joined: string | undefined;
  const raw = replies[positions.value] ?? null;
  for (const position of positions.generations) {
    const token = replies[position];
    if (token == null) return { raw, generation: undefined };
    joined = joined === undefined ? token : `${joined}.${token}`;
  }
  return { raw, generation: joined };
}

async function unlink(client: RedisClient, keys: readonly string[]): Promise<void> {
  try {
    await client.unlink(...keys);
  } catch (error) {
    if (!isSplit(error)) throw error;
    await unlinkEach(client, keys);
  }
}

/** Each key of a slot that is being moved is in one place or the other: asked for alone, it is found. */
async function unlinkEach(client: RedisClient, keys: readonly string[]): Promise<void> {
  await Promise.all(keys.map(async (key) => await client.unlink(key)));
}

/** The reply to a command; something else instead if its keys are just being moved by a cluster. */
async function unlessSplit<Reply, Instead>(
  reply: Promise<Reply>,
  instead: Instead,
): Promise<Reply | Instead> {
  try {
    return await reply;
  } catch (error) {
    if (isSplit(error)) return instead;
    throw error;
  }
}

/** Written at once, not by the client's auto-pipelining, which would wait for another turn of the event loop. */
async function readFromOne(client: RedisClient, keys: KeyList): Promise<(string | null)[]> {
  const pieces = keys.cut();
  const replies = await Promise.all(
    pieces.map(async (positions) => {
      const names = positions.map((position) => keys.list[position] ?? '');
      const command = new Command('mget', names, { replyEncoding: 'utf8' });
      return (await client.sendCommand(command)) as (string | null)[];
    }),
  );
  return replies.flat();
}

/**
 * A command for each group of keys that share a slot, which the client sends in one packet for each node. What is just
 * being moved counts as missing.
 */
async function readFromCluster(client: RedisClient, keys: KeyList): Promise<(string | null)[]> {
  const groups = new Map<string, number[]>();
  keys.list.forEach((key, position) => {
    const tag = hashTagOf(key);
    const group = groups.get(tag);
    if (group) group.push(position);
    else groups.set(tag, [position]);
  });
  const replies: (string | null)[] = keys.list.map(() => null);
  const pieces = [...groups.values()].flatMap((positions) => keys.cut(positions));
  await Promise.all(
    pieces.map(async (positions) => {
      const values = await unlessSplit(
        client.mget(positions.map((position) => keys.list[position] ?? '')),
        [],
      );
      positions.forEach((position, i) => {
        replies[position] = values[i] ?? null;
      });
    }),
  );
  return replies;
}

/** Splits neighbours that belong together off into groups, keeping the order, so that the groups' results line up. */
function inGroups<T>(items: readonly T[], groupOf: (item: T) => string): T[][] {
  const groups: T[][] = [];
  let current: string | undefined;
  for (const item of items) {
    const group = groupOf(item);
    if (group === current) groups.at(-1)?.push(item);
    else groups.push([item]);
    current = group;
  }
  return groups;
}

const byEntity = (slots: readonly EntryKeys[]): EntryKeys[][] => inGroups(slots, ({ entityId }) => entityId);
