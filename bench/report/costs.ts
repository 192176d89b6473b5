import type { GrowthResult } from '../measure/growth.js';
import type { InvalidationResult } from '../measure/invalidation.js';
import type { MemoryResult } from '../measure/memory.js';
import type { MutationResult } from '../measure/mutations.js';
import type { SteadyMemoryResult } from '../measure/steady-memory.js';
import { median, spread } from '../support/numbers.js';
import { figure, percent, times, type Table } from './table.js';

const KILOBYTE = 1_024;

/** @param bots how many bots were read */
export function memoryTables(results: readonly MemoryResult[], bots: number): Table[] {
  if (results.length === 0) return [];
  const all: Table = {
    title: 'Memory after everything was read once',
    notes: [
      `The details and the statistics of ${bots} bots, and their list pages of 20 with statistics. MEMORY USAGE of every key; the resident memory of the server process after all that it was put through before.`,
    ],
    columns: ['server', 'Redis keys', 'Redis KB', 'process MB'],
    rows: results.map(({ server, keyspace, residentMegabytes }) => [
      server.contender.title,
      String(keyspace.keys),
      figure(keyspace.bytes / KILOBYTE),
      figure(residentMegabytes),
    ]),
  };
  const ours = results.find(({ server }) => server.contender.id === 'ours');
  if (!ours) return [all];
  return [
    all,
    {
      title: 'What ours keeps in Redis, by kind of key',
      notes: [],
      columns: ['key', 'keys', 'bytes each'],
      rows: [...ours.keyspace.kinds]
        .toSorted(([, a], [, b]) => b.bytes - a.bytes)
        .map(([kind, { keys, bytes }]) => [`\`${kind}\``, String(keys), figure(bytes / keys)]),
    },
  ];
}

/** A table of the latency of mutations, compared with the bare SQL. */
export function mutationTables(result: MutationResult | undefined): Table[] {
  if (!result) return [];
  const bare = result.update.find(({ server }) => server.contender.id === 'ceiling')?.latency;
  const bareRecord = result.record500.find(({ server }) => server.contender.id === 'ceiling')?.latency;
  return [
    {
      title: 'Latency of changes, one at a time',
      notes: [
        `Each server in turn. The ceiling runs nothing but the same SQL and one Redis round trip behind bare HTTP; without HTTP, in one process, that update takes ${figure(result.bareInProcessMs)} ms (p50). No disk is waited for.`,
      ],
      columns: [
        'server',
        'updateBot p50 ms',
        'p99 ms',
        'to bare',
        '500 messages p50 ms',
        'to bare',
        'errors',
      ],
      rows: result.update.map(({ server, latency }, i) => {
        const record = result.record500[i]?.latency;
        return [
          server.contender.title,
          figure(latency.p50Ms),
          figure(latency.p99Ms),
          times(bare && latency.p50Ms / bare.p50Ms),
          figure(record?.p50Ms),
          times(record && bareRecord && record.p50Ms / bareRecord.p50Ms),
          String(latency.errors + (record?.errors ?? 0)),
        ];
      }),
    },
  ];
}

/** @param otherKeys how many they were at most */
export function invalidationTables(results: readonly InvalidationResult[], otherKeys: number): Table[] {
  if (results.length === 0) return [];
  const many = otherKeys.toLocaleString('en-US');
  return [
    {
      title: 'updateBot among other keys in Redis',
      notes: [],
      columns: ['server', 'with 10 other keys, p50 ms', `with ${many}, p50 ms`, 'growth'],
      rows: results.map(({ server, fewMs, manyMs }) => [
        server.contender.title,
        figure(fewMs),
        figure(manyMs),
        times(manyMs / fewMs),
      ]),
    },
  ];
}

/** Reads on little and on much data. */
export function growthTables(results: readonly GrowthResult[]): Table[] {
  if (results.length === 0) return [];
  return [
    {
      title: 'Growth: 1,000 bots against 1,000,000 bots with 10,000,000 messages',
      notes: [
        'Ours, one request at a time, each size in turn; bots from all over the organization, its first 50 pages. Medians of the p50 of the rounds; ± is half the range of their growth. Cold: an emptied Redis, every read a miss; PostgreSQL has the rows in its memory.',
      ],
      columns: ['read', 'cache', '1,000 bots, ms', '1,000,000 bots, ms', 'growth', '±'],
      rows: results.map((result) => [
        result.read,
        result.temperature,
        figure(median(result.smallMs)),
        figure(median(result.largeMs)),
        times(growthOf(result)),
        percent(spread(ratiosOf(result))),
      ]),
    },
  ];
}

/** How much longer a read takes on much data. */
export const growthOf = (result: GrowthResult): number => median(ratiosOf(result));

const ratiosOf = ({ smallMs, largeMs }: GrowthResult): number[] =>
  largeMs.map((ms, round) => ms / (smallMs[round] ?? NaN));

/** A table of a server process's memory after growing numbers of distinct requests. */
export function steadyMemoryTables(results: readonly SteadyMemoryResult[]): Table[] {
  if (results.length === 0) return [];
  return [
    {
      title: 'Memory of a server process over requests that all differ',
      notes: [
        'Bots, searches, documents and tokens that have not been asked for, or sent, before, and ids that nobody has, which are answered with errors; weighed after a collection of garbage.',
      ],
      columns: ['requests', 'heap MB', 'buffers MB', 'resident MB', 'Redis MB', 'errors'],
      rows: results.map((result) => [
        result.requests.toLocaleString('en-US'),
        figure(result.heapMegabytes),
        figure(result.externalMegabytes),
        figure(result.residentMegabytes),
        figure(result.redisMegabytes),
        String(result.errors),
      ]),
    },
  ];
}
