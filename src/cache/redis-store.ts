import { Command } from 'ioredis';

import { CacheUnavailableError } from './errors.js';
import { isSplit, type RedisClient } from './redis-client.js';
import { hashTagOf } from './keys.js';
import type { RedisGateway } from './redis-gateway.js';
import { CLAIM, DROP_INDEXED, FILL, RELEASE, REPLACE } from './scripts.js';

/** Where one value lives: everything it touches in Redis. */
export interface Slot {
  /** The entity's id; on a cluster all keys of one entity share a hash slot. */
  readonly entityId: string;
  readonly key: string;
  /** The generation keys of the value's tags, in the order of the resource's declaration. */
  readonly generations: readonly string[];
  readonly index: string | undefined;
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
  readonly slot: Slot;
  readonly generation: string;
  readonly lock: Lock;
  readonly envelope: string;
  readonly ttlMs: number;
}

/** Keys to remove, for one entity. */
export interface Removal {
  readonly keys: readonly string[];
  readonly indexes: readonly string[];
}

/**
 * Generations outlive every value that can carry them, so that an expired one never brings an old value back to life;
 * when one expires, values that carry it are only loaded again.
 */
const GENERATION_LIFE_MS = 3_600_000;
/** Longer than nearly every load; a lock that runs out early only lets a second process load. */
const LOCK_LIFE_MS = 2_000;
/** Enough for the generations and the snapshot of nearly every envelope; a longer one counts as outdated. */
const HEAD_BYTES = 2_047;
/** The most keys that an index lists; the rest wait for their TTL. */
const INDEX_ENTRIES = 1_000;

/**
 * The cache's operations, each one round trip for any number of values. On a standalone Redis each is one command; on
 * Redis Cluster one for each entity, sent together to the nodes that hold them.
 */
export class RedisStore {
  private batch: ReadBatch | undefined;

  constructor(
    private readonly gateway: RedisGateway,
    private readonly cluster: boolean,
  ) {}

  /** Reads values together with their generations. The result is aligned with `slots`. */
  async read(slots: readonly Slot[]): Promise<Stored[]> {
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
    if (!this.gateway.available) onSend();
    const batch = this.openBatch();
    const positions = keys.map((key) => batch.keys.position(key));
    batch.beforeSend.push(onSend);
    const replies = await batch.replies;
    return positions.map((position) => replies[position] ?? null);
  }

  /**
   * The read that goes out at the end of this turn of the event loop. All readers of the process that come until then
   * share it, and a key that several of them want is read once. It is no older for any of them: it has not begun yet.
   */
  private openBatch(): ReadBatch {
    if (this.batch) return this.batch;
    if (!this.gateway.available) throw new CacheUnavailableError(this.gateway.outage);
    const keys = new KeyList();
    const beforeSend: (() => void)[] = [];
    const replies = new Promise<void>((resolve) => {
      setImmediate(resolve);
    }).then(async () => {
      this.batch = undefined;
      for (const notify of beforeSend) notify();
      const readAll = this.cluster ? readFromCluster : readFromOne;
      return await this.gateway.run('read', async (client) => await readAll(client, keys.list));
    });
    return (this.batch = { keys, replies, beforeSend });
  }

  /**
   * Claims the load of missing values; see {@link CLAIM}. The result is aligned with `slots`; undefined where nothing
   * can be claimed, because a cluster is moving the keys.
   */
  async claim(slots: readonly Slot[], token: string): Promise<(Claim | undefined)[]> {
    return await this.gateway.run('claim', async (client) => {
      const claimGroup = async (group: readonly Slot[]): Promise<(Claim | undefined)[]> => {
        const [first] = group;
        if (!first) return [];
        const lockKey = `${first.key}:lock`;
        const keys = [lockKey];
        for (const { generations } of group) keys.push(...generations);
        const reply = await unlessSplit(
          client.eval(CLAIM, keys.length, ...keys, token, GENERATION_LIFE_MS, LOCK_LIFE_MS),
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
      return this.cluster
        ? (await Promise.all(byEntity(slots).map(claimGroup))).flat()
        : await claimGroup(slots);
    });
  }

  /** Stores loaded values whose generations are still current; see {@link FILL}. */
  async fill(fills: readonly Fill[]): Promise<void> {
    await this.gateway.run('fill', async (client) => {
      const fillGroup = async (group: readonly Fill[]): Promise<void> => {
        const [first] = group;
        if (!first) return;
        const { slot, lock } = first;
        const keys = [lock.key];
        const args: (string | number)[] = [
          slot.generations.length,
          slot.index === undefined ? 0 : 1,
          INDEX_ENTRIES,
          lock.holds,
        ];
        for (const fill of group) {
          keys.push(...fill.slot.generations);
          args.push(fill.generation, fill.envelope, fill.ttlMs);
        }
        for (const fill of group) keys.push(fill.slot.key);
        if (slot.index !== undefined) for (const fill of group) keys.push(fill.slot.index ?? '');
        await unlessSplit(client.eval(FILL, keys.length, ...keys, ...args), undefined);
      };
      // What was claimed together is loaded, and filled, together.
      await Promise.all(inGroups(fills, ({ lock }) => lock.key).map(fillGroup));
    });
  }

  /** Frees locks of loads that have failed; see {@link RELEASE}. */
  async release(locks: readonly Lock[]): Promise<void> {
    const groups = this.cluster ? locks.map((lock) => [lock]) : [locks];
    await this.gateway.run('release', async (client) => {
      await Promise.all(
        groups.map(
          async (group) =>
            await client.eval(
              RELEASE,
              group.length,
              ...group.map(({ key }) => key),
              ...group.map(({ holds }) => holds),
            ),
        ),
      );
    });
  }

  /** Replaces a stored value under a new generation; see {@link REPLACE}. `others` depend on the same tag. */
  async replace(
    { key, generations }: Slot,
    others: readonly string[],
    newer: {
      readonly token: string;
      readonly envelope: string;
      readonly ttlMs: number;
      readonly version: number;
    },
  ): Promise<void> {
    const keys = [key, ...generations, ...others];
    const { token, envelope, ttlMs, version } = newer;
    await this.gateway.run('invalidate', async (client) => {
      try {
        await client.eval(REPLACE, keys.length, ...keys, token, GENERATION_LIFE_MS, envelope, ttlMs, version);
      } catch (error) {
        if (!isSplit(error)) throw error;
        await unlinkEach(client, keys);
      }
    });
  }

  /** The heads of stored values, long enough to hold their snapshots; null where there is none. Aligned with `keys`. */
  async readHeads(keys: readonly string[]): Promise<(string | null)[]> {
    return await this.gateway.run('sweep', async (client) =>
      (await Promise.all(keys.map(async (key) => await client.getrange(key, '0', String(HEAD_BYTES))))).map(
        (head) => head || null,
      ),
    );
  }

  /** The keys that indexes list. */
  async readIndexes(indexes: readonly string[]): Promise<string[]> {
    return await this.gateway.run('sweep', async (client) =>
      (await Promise.all(indexes.map(async (index) => await client.zrange(index, '0', '-1')))).flat(),
    );
  }

  /**
   * Removes generations, values and everything their indexes list. Removing a generation invalidates as surely as
   * replacing it (the next reader makes a new random one), costs no memory, and is allowed in a Redis that is full.
   * @param whileOpen also tries while the circuit is open (recovery).
   */
  async remove(
    removals: readonly Removal[],
    operation: 'invalidate' | 'sweep',
    whileOpen = false,
  ): Promise<void> {
    const groups = this.cluster
      ? removals
      : [{ keys: removals.flatMap((each) => each.keys), indexes: removals.flatMap((each) => each.indexes) }];
    const call = async (client: Parameters<Parameters<RedisGateway['run']>[1]>[0]) => {
      // If one node of a cluster fails, the others must have been told all the same before the write is answered.
      const outcomes = await Promise.allSettled(
        groups.flatMap(({ keys, indexes }): Promise<unknown>[] => [
          ...(keys.length > 0 ? [unlink(client, keys)] : []),
          // What an index lists is worth nothing without the generation: if it is left, its TTL or the next one gets it.
          ...indexes.map(async (index) => await unlessSplit(client.eval(DROP_INDEXED, 1, index), 0)),
        ]),
      );
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    };
    await (whileOpen ? this.gateway.attempt(operation, call) : this.gateway.run(operation, call));
  }
}

/** What the protocol asks of a store: the property tests put a model in its place, whose steps they can order. */
export type CacheStore = Pick<RedisStore, keyof RedisStore>;

interface ReadBatch {
  readonly keys: KeyList;
  readonly beforeSend: (() => void)[];
  readonly replies: Promise<(string | null)[]>;
}

/** Distinct keys in the order in which they were first asked for. */
class KeyList {
  readonly list: string[] = [];
  private readonly positions = new Map<string, number>();

  position(key: string): number {
    let position = this.positions.get(key);
    if (position === undefined) {
      position = this.list.push(key) - 1;
      this.positions.set(key, position);
    }
    return position;
  }
}

interface Positions {
  readonly value: number;
  readonly generations: readonly number[];
}

const layOut = (slot: Slot, keys: KeyList): Positions => ({
  value: keys.position(slot.key),
  generations: slot.generations.map((generation) => keys.position(generation)),
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

/** A single MGET blocks Redis for everybody else, so it is kept to so many keys. */
const MOST_KEYS_A_COMMAND = 2_000;

/** Written at once, not by the client's auto-pipelining, which would wait for another turn of the event loop. */
async function readFromOne(client: RedisClient, keys: readonly string[]): Promise<(string | null)[]> {
  const commands: Promise<(string | null)[]>[] = [];
  for (let start = 0; start < keys.length; start += MOST_KEYS_A_COMMAND) {
    const command = new Command('mget', keys.slice(start, start + MOST_KEYS_A_COMMAND), {
      replyEncoding: 'utf8',
    });
    commands.push(client.sendCommand(command) as Promise<(string | null)[]>);
  }
  return (await Promise.all(commands)).flat();
}

/**
 * A command for each group of keys that share a slot, which the client sends in one packet for each node. What is just
 * being moved counts as missing.
 */
async function readFromCluster(client: RedisClient, keys: readonly string[]): Promise<(string | null)[]> {
  const groups = new Map<string, number[]>();
  keys.forEach((key, position) => {
    const tag = hashTagOf(key);
    const group = groups.get(tag);
    if (group) group.push(position);
    else groups.set(tag, [position]);
  });
  const replies: (string | null)[] = keys.map(() => null);
  await Promise.all(
    [...groups.values()].map(async (positions) => {
      const values = await unlessSplit(client.mget(positions.map((position) => keys[position] ?? '')), []);
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

const byEntity = (slots: readonly Slot[]): Slot[][] => inGroups(slots, ({ entityId }) => entityId);
