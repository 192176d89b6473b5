import type {
  CacheStore,
  Claim,
  EntryKeys,
  Fill,
  FillOutcome,
  KeyIndex,
  Lock,
  LoggedWrites,
  ReadOrClaimed,
  Removal,
  Replacement,
  CurrentGenerations,
  Stored,
} from './cache-store.js';
import { freshGeneration } from '../core/fresh-generation.js';
import { hashTagOf } from '../core/keys.js';
import type { Replaced } from '../core/observer.js';
import { epochOf, xminOf } from '../core/snapshot.js';
import { isSplit, unlessSplit, unlink, unlinkEach } from './moving-slots.js';
import { claimGroup, CLAIM_LIFE_MS } from './claims.js';
import { costOf, cutForCommands } from './pieces.js';
import type { RedisCircuitBreaker } from './redis-circuit-breaker.js';
import type { RedisClient } from './redis-client.js';
import { refusalOf, unlessOtherType } from './redis-refusal.js';
import { sendAll, sendEach, type Command } from './round-trips.js';
import { ADD_WRITES, ADD_WRITES_OF_EVERYTHING, DROP_INDEXED, FILL, RELEASE, REPLACE } from './scripts.js';
import { SharedReads } from './shared-reads.js';

/**
 * TTL of a generation under which a value was stored (ms): longer than any value's, so that no value outlives it. If
 * a generation expires early, the next one is another random token, so no old value becomes current again.
 */
export const GENERATION_LIFE_MS = 720_000;
/** The maximum number of values that are read and claimed in one command, so that it has few enough keys. */
const MAX_CLAIMED_WITH_READ = 50;
/** Enough for the generations and the snapshot of nearly every envelope (bytes); a longer head counts as outdated. */
const HEAD_BYTES = 2_047;
/** Stands for the head of what is no text, so that it counts as outdated. */
const NO_HEAD = 'no text';
/** The estimated cost of removing all keys that an index lists. */
const dropCost = ({ maxEntries }: KeyIndex): number => costOf(maxEntries / 5);
/** The estimated cost of reading all keys that an index lists. */
const listCost = ({ maxEntries }: KeyIndex): number => costOf(1, maxEntries * 120);

/**
 * The cache's operations, each one round trip for the usual number of values. On a standalone Redis each is one
 * command; on Redis Cluster each is one command for each entity, sent together to the nodes that hold them.
 * Operations on very many or very large values are cut into several commands and round trips, between which Redis
 * serves others.
 */
export class RedisStore implements CacheStore {
  private readonly reads: SharedReads;

  constructor(
    private readonly circuitBreaker: RedisCircuitBreaker,
    private readonly cluster: boolean,
    /** The key of the transactions that changed everything. */
    private readonly everything: string,
  ) {
    this.reads = new SharedReads(circuitBreaker, cluster, everything);
  }

  read(entries: readonly EntryKeys[]): Promise<Stored[]> {
    return this.reads.read(entries);
  }

  readGenerations(keys: readonly string[], onSend: () => void): Promise<CurrentGenerations> {
    return this.reads.readGenerations(keys, onSend);
  }

  async readOrClaim(entries: readonly EntryKeys[], token: string): Promise<ReadOrClaimed> {
    // The keys of a cluster are on several nodes.
    if (this.cluster || entries.length > MAX_CLAIMED_WITH_READ)
      return { stored: await this.read(entries), claims: undefined };
    return await this.reads.readOrClaim(entries, token);
  }

  async claim(entries: readonly EntryKeys[], token: string): Promise<(Claim | undefined)[]> {
    const groups = (this.cluster ? byEntity(entries) : [entries]).flatMap((group) =>
      cutForCommands(group, ({ generations }) => generations.length),
    );
    const commands = groups.map((group) => ({
      cost: costOf(group.length * (group[0]?.generations.length ?? 1)),
      send: async (client: RedisClient) => await claimGroup(client, group, token),
    }));
    return (await sendAll(this.circuitBreaker, 'claim', commands)).flat();
  }

  async fill(fills: readonly Fill[]): Promise<FillOutcome> {
    // Values that were claimed together are loaded and filled together; the last piece frees the lock.
    const commands = inGroups(fills, ({ lock }) => lock.key).flatMap((group) => {
      const pieces = cutForCommands(
        group,
        ({ keys }) => keys.generations.length + 1,
        ({ bytes }) => bytes,
      );
      return pieces.map((piece, i) => ({
        cost: costOf(
          piece.length * (1 + (piece[0]?.keys.generations.length ?? 1)),
          piece.reduce((sum, { bytes }) => sum + bytes, 0),
        ),
        send: async (client: RedisClient) => await fillGroup(client, piece, i === pieces.length - 1),
      }));
    });
    const outcomes = await sendAll(this.circuitBreaker, 'fill', commands);
    return {
      stored: outcomes.reduce((sum, { stored }) => sum + stored, 0),
      outdated: outcomes.reduce((sum, { outdated }) => sum + outdated, 0),
    };
  }

  async release(locks: readonly Lock[]): Promise<void> {
    const groups = this.cluster ? locks.map((lock) => [lock]) : cutForCommands(locks, () => 1);
    const commands = groups.map((group) => ({
      cost: costOf(group.length),
      send: async (client: RedisClient) => {
        const [keys, held] = [group.map(({ key }) => key), group.map(({ holds }) => holds)];
        await client.eval(RELEASE, keys.length, ...keys, ...held);
      },
    }));
    await sendAll(this.circuitBreaker, 'release', commands);
  }

  async replace(
    { key, generations }: EntryKeys,
    others: readonly string[],
    newer: Replacement,
    indexes: readonly KeyIndex[] = [],
    removals: readonly Removal[] = [],
  ): Promise<Replaced> {
    let outcome: Replaced = 'removed';
    const keys = [key, ...generations, ...others, ...indexes.map((index) => index.key)];
    const { token, envelope, ttlMs, version, snapshot } = newer;
    const replace = async (client: RedisClient): Promise<void> => {
      // While degraded, this process does not read from Redis. For other processes it is enough to remove outdated
      // values.
      if (this.circuitBreaker.state === 'degraded') return await unlink(client, keys);
      try {
        const ofSnapshot = [xminOf(snapshot), epochOf(snapshot)];
        const args = [token, GENERATION_LIFE_MS, envelope, ttlMs, version, indexes.length, ...ofSnapshot];
        outcome = (await client.eval(REPLACE, keys.length, ...keys, ...args)) as Replaced;
      } catch (error) {
        if (!isSplit(error) && !this.isRefusal(error)) throw error;
        await unlinkEach(client, keys);
      }
    };
    const commands = [{ cost: costOf(keys.length), send: replace }, ...this.removalCommands(removals)];
    await sendEach(this.circuitBreaker, 'invalidate', commands, false);
    return outcome;
  }

  async addWrites({ epoch, ofTags, ofEverything }: LoggedWrites, whileOpen = false): Promise<void> {
    const token = freshGeneration();
    const groups = (this.cluster ? inGroups(ofTags, ({ key }) => hashTagOf(key)) : [ofTags]).flatMap(
      (group) => cutForCommands(group, () => 1),
    );
    const commands: Command<unknown>[] = groups.map((group) => ({
      cost: costOf(group.length),
      send: async (client: RedisClient) => {
        const keys = group.map(({ key }) => key);
        // A Redis that takes no new values can still remove: then all values of these tags are outdated.
        if (this.circuitBreaker.state === 'degraded') return await unlink(client, keys);
        const xids = group.map((writes) => writes.xids.join(','));
        try {
          await client.eval(ADD_WRITES, keys.length, ...keys, token, epoch, ...xids);
        } catch (error) {
          if (!isSplit(error) && !this.isRefusal(error)) throw error;
          await unlinkEach(client, keys);
        }
      },
    }));
    if (ofEverything.length > 0) {
      const args = [ofEverything.join(','), epoch, GENERATION_LIFE_MS];
      commands.push({
        cost: costOf(1),
        send: async (client) => await client.eval(ADD_WRITES_OF_EVERYTHING, 1, this.everything, ...args),
      });
    }
    await sendEach(this.circuitBreaker, 'help', commands, whileOpen);
  }

  async readHeads(keys: readonly string[]): Promise<(string | null)[]> {
    const commands = keys.map((key) => ({
      cost: costOf(1, HEAD_BYTES),
      send: async (client: RedisClient) =>
        await unlessOtherType(client.getrange(key, '0', String(HEAD_BYTES)), NO_HEAD),
    }));
    const heads = await sendAll(this.circuitBreaker, 'sweep', commands);
    return heads.map((head) => head || null);
  }

  async readIndexes(indexes: readonly KeyIndex[]): Promise<string[][]> {
    const commands = indexes.map((index) => ({
      cost: listCost(index),
      send: async (client: RedisClient) =>
        await unlessOtherType(client.zrange(index.key, '0', String(index.maxEntries)), []),
    }));
    return await sendAll(this.circuitBreaker, 'sweep', commands);
  }

  async remove(
    removals: readonly Removal[],
    operation: 'invalidate' | 'sweep',
    whileOpen = false,
  ): Promise<void> {
    await sendEach(this.circuitBreaker, operation, this.removalCommands(removals), whileOpen);
  }

  private removalCommands(removals: readonly Removal[]): Command<unknown>[] {
    const groups = this.cluster
      ? removals
      : [{ keys: removals.flatMap((each) => each.keys), indexes: removals.flatMap((each) => each.indexes) }];
    return groups.flatMap(({ keys, indexes }): Command<unknown>[] => [
      ...cutForCommands(keys, () => 1).map((piece) => ({
        cost: costOf(piece.length),
        send: async (client: RedisClient) => await unlink(client, piece),
      })),
      // Without the generation, the keys of an index are useless: if one stays, it expires or the next removal takes
      // it.
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

  /** Whether Redis refused a command for which there is a substitute. Records the refusal in the circuit breaker. */
  private isRefusal(error: unknown): boolean {
    const refusal = error instanceof Error ? refusalOf(error) : undefined;
    if (refusal) this.circuitBreaker.noteRefusal('invalidate', refusal);
    return refusal !== undefined;
  }
}

const NONE_FILLED: FillOutcome = { stored: 0, outdated: 0 };

/** Runs {@link FILL} for values that were claimed together. */
async function fillGroup(
  client: RedisClient,
  group: readonly Fill[],
  freesLock: boolean,
): Promise<FillOutcome> {
  const [first] = group;
  if (!first) return NONE_FILLED;
  const { index, generations } = first.keys;
  const keys = [first.lock.key];
  const args: (string | number)[] = [
    generations.length,
    index === undefined ? 0 : 1,
    index?.maxEntries ?? 0,
    freesLock ? first.lock.holds : '',
    GENERATION_LIFE_MS,
    CLAIM_LIFE_MS,
  ];
  for (const fill of group) {
    keys.push(...fill.keys.generations);
    args.push(fill.generation, fill.envelope, fill.ttlMs, fill.exists ? 1 : 0);
  }
  for (const fill of group) keys.push(fill.keys.key);
  if (index !== undefined) for (const fill of group) keys.push(fill.keys.index?.key ?? '');
  const stored = await unlessSplit(client.eval(FILL, keys.length, ...keys, ...args), undefined);
  // While a cluster moves the keys, nothing is stored, and nothing is outdated.
  return stored === undefined
    ? NONE_FILLED
    : { stored: Number(stored), outdated: group.length - Number(stored) };
}

/**
 * Splits a list into groups of neighbours that belong together. Keeps the order, so that the groups' results line up.
 */
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

const byEntity = (entries: readonly EntryKeys[]): EntryKeys[][] =>
  inGroups(entries, ({ entityId }) => entityId);
