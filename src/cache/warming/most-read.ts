import type { Logger } from '../core/logger.js';
import type { KeySpace } from '../core/keys.js';
import { inTime } from '../redis/in-time.js';
import type { RedisClient } from '../redis/redis-client.js';
import { ON_INDEX } from '../redis/scripts.js';

/** How often a process notes what it has read most (ms). */
const NOTE_EVERY_MS = 30_000;
/** The maximum number of values that one process notes at a time. */
const MAX_NOTED = 500;
/** The maximum number of values that are remembered. */
const MAX_REMEMBERED = 1_000;
/** Twice as many reads count as much as having been read this much later (s). */
const DOUBLING_SECONDS = 600;
const REMEMBERED_MS = 7 * 24 * 3_600_000;

/**
 * Adds values to the list, each with the higher of its two scores, and removes those with the lowest ones if there are
 * too many. It uses only commands that the cache needs anyway.
 *
 * KEYS: the list. ARGV: the maximum length, its life (ms), then the score and the key of each value.
 */
const NOTE = `${ON_INDEX}
for i = 3, #ARGV, 2 do
  on_index('ZADD', KEYS[1], 'GT', ARGV[i], ARGV[i + 1])
end
local extra = redis.call('ZCARD', KEYS[1]) - ARGV[1]
if extra > 0 then redis.call('ZPOPMIN', KEYS[1], extra) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`;

/** A value that was read, and how often. */
export interface ReadCount {
  readonly key: string;
  readonly reads: number;
}

/**
 * Remembers in Redis which values are read most, so that a server that starts can load them before it is asked for them.
 *
 * A value's score grows with its reads and with the time, so that old reads fade without being visited (forward decay:
 * Cormode and others, "Forward decay: a practical time decay model for streaming systems", 2009). Nothing depends on
 * the list: if Redis refuses it, nothing is remembered.
 */
export class MostRead {
  private readonly listKey: string;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly parts: {
      readonly client: Pick<RedisClient, 'eval' | 'zrange'>;
      readonly keys: KeySpace;
      /** Whether Redis can be used now. */
      readonly isAvailable: () => boolean;
      /** Returns how often this process has read each value since the last call, at most `limit` of them. */
      readonly takeCounts: (limit: number) => readonly ReadCount[];
      readonly log: Logger;
    },
  ) {
    this.listKey = parts.keys.mostRead;
  }

  start(): void {
    this.timer = setInterval(() => void this.note(), NOTE_EVERY_MS);
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Notes what was read since the last time. Never fails. */
  async note(): Promise<void> {
    const { client, isAvailable, takeCounts, log } = this.parts;
    if (!isAvailable()) return;
    const counts = takeCounts(MAX_NOTED);
    if (counts.length === 0) return;
    const now = Date.now() / 1_000 / DOUBLING_SECONDS;
    const scored = counts.flatMap(({ key, reads }) => [now + Math.log2(reads), key]);
    try {
      await inTime(client.eval(NOTE, 1, this.listKey, MAX_REMEMBERED, REMEMBERED_MS, ...scored));
    } catch (error) {
      log.debug({ err: error }, 'Could not note which values are read most');
    }
  }

  /** The keys of the values that were read most, first the most read one. Empty if Redis does not answer. */
  async read(): Promise<string[]> {
    const { client, isAvailable, log } = this.parts;
    if (!isAvailable()) return [];
    try {
      return await inTime(client.zrange(this.listKey, '0', String(MAX_REMEMBERED - 1), 'REV'));
    } catch (error) {
      log.debug({ err: error }, 'Could not read which values are read most');
      return [];
    }
  }
}
