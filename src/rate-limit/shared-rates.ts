import { KeySpace } from '../cache/core/keys.js';
import { connectRedis, type RedisClient, type RedisTarget } from '../cache/redis/redis-client.js';
import type { Logger } from '../logger.js';
import type { LeakyBuckets, UnsharedRequests } from './leaky-buckets.js';
import type { RateLimit } from './rate-limit.js';

/** How often a process tells the others what it counted, and learns what they counted (ms). */
const SHARE_EVERY_MS = 250;
/** A connection on which Redis is silent for longer is replaced (ms). */
const MAX_SILENCE_MS = 5_000;

/**
 * Adds requests to a bucket in Redis, as {@link LeakyBuckets} does. Redis tells the time, because the clocks of processes
 * differ.
 *
 * KEYS: the bucket. ARGV: what the requests add (ms). Returns how full the bucket is then (ms).
 */
const ADD = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local empty = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + tonumber(ARGV[1])
local level = math.ceil(empty - now)
redis.call('SET', KEYS[1], string.format('%.3f', empty), 'PX', level + 1000)
return level`;

/** Buckets that all processes share, and the key of each caller. */
export interface SharedBuckets {
  readonly buckets: LeakyBuckets;
  readonly keyOf: (caller: string) => string;
}

/**
 * Shares counted requests through Redis, in the background: no request waits for it. Each process decides by what it
 * knows, so a caller who uses N processes at once can send a second's worth to each after a pause. But what was sent too
 * much stays in the bucket: over a longer time the callers keep to the rate, whatever the number of processes. While
 * Redis cannot be reached, each process limits by itself.
 */
export class SharedRates {
  private timer: NodeJS.Timeout | undefined;
  private since: number | undefined;
  private isReachable = true;

  constructor(
    private readonly parts: {
      readonly client: RedisClient;
      readonly shared: readonly SharedBuckets[];
      readonly log: Pick<Logger, 'warn'>;
    },
  ) {
    // Whether Redis can be reached is reported when counts are shared.
    parts.client.on('error', () => undefined);
  }

  start(): void {
    this.timer = setInterval(() => this.tick(), SHARE_EVERY_MS).unref();
  }

  close(): void {
    clearInterval(this.timer);
    this.parts.client.disconnect();
  }

  private tick(): void {
    const { client, shared } = this.parts;
    if (this.since === undefined) {
      this.since = performance.now();
      const sent = shared.map(async (each) => await this.share(each));
      Promise.allSettled(sent).then(
        () => {
          this.since = undefined;
        },
        () => undefined,
      );
      return;
    }
    // What was counted meanwhile is not shared: it would be an old debt once Redis is back.
    for (const { buckets } of shared) buckets.takeUnshared();
    if (performance.now() - this.since > MAX_SILENCE_MS) client.disconnect(true);
  }

  private async share({ buckets, keyOf }: SharedBuckets): Promise<void> {
    const unshared = buckets.takeUnshared();
    if (unshared.length === 0) return;
    const sent = unshared.map(async ({ caller, count }: UnsharedRequests) => {
      const addedMs = (count * 1_000) / buckets.perSecond;
      const level = await this.parts.client.eval(ADD, 1, keyOf(caller), addedMs.toFixed(3));
      buckets.fillTo(caller, Number(level));
    });
    const results = await Promise.allSettled(sent);
    const failed = results.find(({ status }) => status === 'rejected') as PromiseRejectedResult | undefined;
    if (failed && this.isReachable) {
      this.parts.log.warn({ err: failed.reason as unknown }, 'The rate limit counts in this process alone');
    }
    this.isReachable = failed === undefined;
  }
}

/**
 * Shares what callers sent with the other processes, over a connection of its own: it must not delay the cache, and a
 * Redis user without the right to these keys must not keep the cache from being used. Undefined without Redis.
 */
export function shareRates(
  { users, addresses }: RateLimit,
  options: {
    readonly target: RedisTarget | undefined;
    readonly prefix: string;
    readonly log: Pick<Logger, 'warn'>;
  },
): SharedRates | undefined {
  const { target, prefix, log } = options;
  if (!target) return undefined;
  const keys = new KeySpace({ prefix, cluster: target.kind === 'cluster' });
  const shared = [
    { buckets: users, keyOf: keys.rate('user') },
    { buckets: addresses, keyOf: keys.rate('address') },
  ];
  return new SharedRates({ client: connectRedis(target), shared, log });
}
