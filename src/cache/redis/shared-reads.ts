import { Command } from 'ioredis';

import { CacheUnavailableError } from '../core/errors.js';
import type { CurrentGenerations, EntryKeys, ReadOrClaimed, Stored } from './cache-store.js';
import { readOrClaimGroup } from './claims.js';
import { hashTagOf } from '../core/keys.js';
import type { Span } from '../core/span.js';
import { currentWork, within } from '../core/work.js';
import { unlessSplit } from './moving-slots.js';
import { costOf, cut, cutForCommands } from './pieces.js';
import type { RedisCircuitBreaker } from './redis-circuit-breaker.js';
import type { RedisClient } from './redis-client.js';
import { MAX_ROUND_TRIP_COST } from './round-trips.js';

/** The maximum number of values in one read; larger reads are cut. */
const MAX_ENTRIES_A_READ = 300;
/** The assumed size of a generation, in bytes. */
const GENERATION_BYTES = 40;

/** A read that was not sent yet, or has no reply yet. */
interface Batch {
  readonly keys: KeyList;
  /** Commands that are sent with the read, in the same round trip. */
  readonly others: ((client: RedisClient) => Promise<void>)[];
  cost: number;
  readonly beforeSend: (() => void)[];
  readonly replies: Promise<(string | null)[]>;
  /** The span of the first reader that has one; the round trip is a part of it. */
  span: Span | undefined;
}

/**
 * Shares reads of values and generations. All readers of the process in one turn of the event loop share one round
 * trip, and a key that several of them want is read once.
 */
export class SharedReads {
  private batch: Batch | undefined;

  constructor(
    private readonly circuitBreaker: RedisCircuitBreaker,
    private readonly cluster: boolean,
    /** The key of the transactions that changed everything: each read needs it. */
    private readonly everything: string,
  ) {}

  /** Reads values together with their generations. The result is aligned with `entries`. */
  async read(entries: readonly EntryKeys[]): Promise<Stored[]> {
    if (entries.length <= MAX_ENTRIES_A_READ) return await this.readTogether(entries);
    const pieces = cut(entries, () => 1, MAX_ENTRIES_A_READ);
    return (await Promise.all(pieces.map(async (piece) => await this.readTogether(piece)))).flat();
  }

  private async readTogether(entries: readonly EntryKeys[]): Promise<Stored[]> {
    const batch = this.openBatch();
    const positions = entries.map((entry) => positionsOf(entry, batch.keys));
    const replies = await batch.replies;
    const everything = replies[0] ?? '';
    return positions.map((each) => storedAt(each, replies, everything));
  }

  /** See {@link CacheStore.readOrClaim}. The entries must be few enough for one command, and on one node. */
  async readOrClaim(entries: readonly EntryKeys[], token: string): Promise<ReadOrClaimed> {
    const batch = this.openBatch();
    let result: ReadOrClaimed = { stored: [], claims: undefined };
    batch.others.push(async (client) => {
      result = await readOrClaimGroup(client, this.everything, entries, token);
    });
    batch.cost += costOf(entries.length * (1 + (entries[0]?.generations.length ?? 1)));
    await batch.replies;
    return result;
  }

  /** See {@link CacheStore.readGenerations}. */
  async readGenerations(keys: readonly string[], onSend: () => void): Promise<CurrentGenerations> {
    if (!this.circuitBreaker.available) onSend();
    const batch = this.openBatch();
    const positions = keys.map((key) => batch.keys.position(key, GENERATION_BYTES));
    batch.beforeSend.push(onSend);
    const replies = await batch.replies;
    return {
      generations: positions.map((position) => replies[position] ?? null),
      everything: replies[0] ?? '',
    };
  }

  /**
   * The read that is sent at the end of this turn of the event loop. It has not begun yet, so its result is current
   * for all who share it. Once it is large enough for a round trip, later readers begin another.
   */
  private openBatch(): Batch {
    if (this.batch && this.batch.keys.cost + this.batch.cost < MAX_ROUND_TRIP_COST) {
      this.batch.span ??= currentWork()?.span;
      return this.batch;
    }
    if (!this.circuitBreaker.available) throw new CacheUnavailableError(this.circuitBreaker.outage);
    const keys = new KeyList();
    keys.position(this.everything, GENERATION_BYTES);
    const beforeSend: (() => void)[] = [];
    const replies = new Promise<void>((resolve) => {
      setImmediate(resolve);
    }).then(async () => {
      if (this.batch === batch) this.batch = undefined;
      for (const notify of beforeSend) notify();
      return await within(batch.span && { span: batch.span }, () =>
        this.circuitBreaker.run('read', (client) => this.send(client, batch), keys.cost + batch.cost),
      );
    });
    const batch: Batch = { keys, others: [], cost: 0, replies, beforeSend, span: currentWork()?.span };
    this.batch = batch;
    return batch;
  }

  private send(client: RedisClient, { keys, others }: Batch): Promise<(string | null)[]> {
    const readAll = this.cluster ? readFromCluster : readFromOne;
    if (others.length === 0) return readAll(client, keys);
    // The list of what changed everything is the first key.
    const reading = keys.list.length > 1 ? readAll(client, keys) : [];
    return Promise.all([reading, ...others.map(async (send) => await send(client))]).then(
      ([replies]) => replies,
    );
  }
}

/** Distinct keys in the order of their first request, with the expected sizes of their values. */
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

const positionsOf = (entry: EntryKeys, keys: KeyList): Positions => ({
  value: keys.position(entry.key, entry.bytes),
  generations: entry.generations.map((generation) => keys.position(generation, GENERATION_BYTES)),
});

function storedAt(positions: Positions, replies: readonly (string | null)[], everything: string): Stored {
  let joined: string | undefined;
  const raw = replies[positions.value] ?? null;
  for (const position of positions.generations) {
    const token = replies[position];
    if (token == null) return { raw, generation: undefined, everything };
    joined = joined === undefined ? token : `${joined}.${token}`;
  }
  return { raw, generation: joined, everything };
}

/** Sends at once: the client's auto-pipelining would wait for another turn of the event loop. */
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
 * Sends a command for each group of keys that share a slot; the client sends them in one packet for each node. A key
 * that is just being moved counts as missing.
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
