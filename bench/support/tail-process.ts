import { pino } from 'pino';

import { InvalidationLog, type LogSource } from '../../src/cache/invalidation/invalidation-log.js';
import { invalidationLogSource } from '../../src/cache/postgres/invalidation-log-source.js';
import { cacheConnection } from '../../src/db/cache-connection.js';

/** The reads of the log since the last report. */
export interface TailReport {
  readonly polls: number;
  readonly rows: number;
  /** Total time from request to reply (ms). */
  readonly pollMs: number;
  readonly slowestPollMs: number;
  readonly rememberedTags: number;
  /** After a collection of garbage. */
  readonly heapMegabytes: number;
}

const NOTHING = { polls: 0, rows: 0, pollMs: 0, slowestPollMs: 0 };
let counts = { ...NOTHING };

const source: LogSource = invalidationLogSource(cacheConnection(process.argv[2] ?? ''));
const invalidationLog = new InvalidationLog({
  log: pino({ level: 'silent' }),
  source: {
    ...source,
    async poll(since) {
      const startedAt = performance.now();
      const batch = await source.poll(since);
      const tookMs = performance.now() - startedAt;
      counts.polls += 1;
      counts.rows += batch.entries.length;
      counts.pollMs += tookMs;
      counts.slowestPollMs = Math.max(counts.slowestPollMs, tookMs);
      return batch;
    },
  },
});

process.on('message', () => {
  globalThis.gc?.();
  const heapMegabytes = process.memoryUsage().heapUsed / 2 ** 20;
  const report: TailReport = { ...counts, rememberedTags: invalidationLog.rememberedTags, heapMegabytes };
  counts = { ...NOTHING };
  process.send?.(report);
});

await invalidationLog.start();
process.send?.('started');
