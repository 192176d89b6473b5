import type { FleetRound, ScaleOutResult } from '../measure/scale-out.js';
import { median } from '../support/numbers.js';
import { figure, percent, times, type Table } from './table.js';

/** Tables of the cost of a request for one process and several, by workload, and of stale reads. */
export function scaleOutTables(results: readonly ScaleOutResult[]): Table[] {
  const [first] = results;
  if (!first) return [];
  return [
    ...first.workloads.map(({ workload }, place): Table => {
      const roundsOf = (result: ScaleOutResult): readonly FleetRound[] =>
        result.workloads[place]?.rounds ?? [];
      const medianOf = (result: ScaleOutResult, name: keyof FleetRound): number =>
        median(roundsOf(result).map((round) => round[name]));
      const leastOf = (result: ScaleOutResult): number =>
        Math.min(...roundsOf(result).map(({ cpuMicroseconds }) => cpuMicroseconds));
      return {
        title: `Scale-out: ${workload.title}`,
        notes: place === 0 ? NOTES : [],
        columns: [
          'processes and Redis',
          'requests/s',
          'CPU µs',
          'at best',
          'best to that of 1 process',
          'Redis commands',
          'Redis µs',
          'SQL',
          'hits',
          'errors',
        ],
        rows: results.map((result) => {
          const least = leastOf(result);
          return [
            titleOf(result),
            figure(medianOf(result, 'requestsPerSecond')),
            figure(medianOf(result, 'cpuMicroseconds')),
            figure(least),
            times(least / leastOf(first)),
            figure(medianOf(result, 'redisCommands')),
            figure(medianOf(result, 'redisMicroseconds')),
            figure(medianOf(result, 'statements')),
            percent(medianOf(result, 'hitRate')),
            String(roundsOf(result).reduce((sum, { errors }) => sum + errors, 0)),
          ];
        }),
      };
    }),
    {
      title: 'Scale-out: stale reads beside writes',
      notes: ['As with two processes above; writers and readers are dealt out among the processes.'],
      columns: ['processes and Redis', 'updates', 'versions read', 'stale', 'errors'],
      rows: results.map((result) => {
        const { writes, reads, staleReads, errors } = result.stale;
        return [titleOf(result), String(writes), String(reads), String(staleReads), String(errors)];
      }),
    },
  ];
}

const NOTES = [
  'Server processes of ours behind one port (node:cluster deals the connections out), 32 connections for each. **Requests/s do not grow here: the processes, the load generator, PostgreSQL and Redis share the cores of one machine, and one process already keeps its core busy.** What the table shows is whether a request costs more when there are more processes: CPU µs is the sum over all of them, Redis µs the sum over all nodes, both for a request. More processes than cores take turns, and what is in a core’s caches is lost at each turn, so the round that was disturbed least says most: “at best”. Beside updates each process has cached responses of its own to make again.',
];

const titleOf = ({ processes, redisNodes }: ScaleOutResult): string =>
  `${processes} × server, ${redisNodes === 1 ? 'one Redis' : `Redis Cluster of ${redisNodes}`}`;
