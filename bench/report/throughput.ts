import type { Round, ThroughputResult } from '../measure/throughput.js';
import { median, spread } from '../support/numbers.js';
import { figure, percent, times, type Table } from './table.js';

/** The median of one figure over the rounds. */
export const medianOf = ({ rounds }: ThroughputResult, name: NumericFigure): number =>
  median(rounds.map((round) => round[name]));

/** The figures that every round has. */
export type NumericFigure = {
  [Name in keyof Round]: Round[Name] extends number ? Name : never;
}[keyof Round];

/** The results with which a workload's results are compared. */
export interface Yardsticks {
  readonly ceiling: ThroughputResult | undefined;
  /** The opponent with the most requests a second. */
  readonly fastest: ThroughputResult | undefined;
  /** The opponent with the least CPU time for a request. */
  readonly leanest: ThroughputResult | undefined;
}

/** Finds a workload's yardsticks among its results. */
export function yardsticks(results: readonly ThroughputResult[]): Yardsticks {
  const opponents = results.filter(({ server }) => server.contender.role === 'opponent');
  const by = (name: NumericFigure) => opponents.toSorted((a, b) => medianOf(a, name) - medianOf(b, name));
  return {
    ceiling: results.find(({ server }) => server.contender.id === 'ceiling'),
    fastest: by('requestsPerSecond').at(-1),
    leanest: by('cpuMicroseconds')[0],
  };
}

/** The results by workload, in the order of the workloads. */
export function byWorkload(results: readonly ThroughputResult[]): ThroughputResult[][] {
  const groups = new Map<string, ThroughputResult[]>();
  for (const result of results) {
    const { id } = result.workload;
    groups.set(id, [...(groups.get(id) ?? []), result]);
  }
  return [...groups.values()];
}

/** A table for each workload. */
export function throughputTables(results: readonly ThroughputResult[]): Table[] {
  return byWorkload(results).map((group) => {
    const { ceiling, fastest, leanest } = yardsticks(group);
    const [first] = group;
    return {
      title: `Throughput: ${first?.workload.title ?? ''}`,
      notes: [],
      columns: [
        'server',
        'requests/s',
        '±',
        'p50 ms',
        'p99 ms',
        'CPU µs',
        'of the ceiling',
        'to the fastest opponent',
        'CPU to the leanest',
        'Redis commands',
        'Redis µs',
        'SQL',
        'hits',
        'errors',
      ],
      rows: group.map((result) => {
        const perSecond = medianOf(result, 'requestsPerSecond');
        const cpu = medianOf(result, 'cpuMicroseconds');
        const rates = result.rounds.flatMap(({ hitRate }) => (hitRate === undefined ? [] : [hitRate]));
        return [
          result.server.contender.title,
          figure(perSecond),
          percent(spread(result.rounds.map(({ requestsPerSecond }) => requestsPerSecond))),
          figure(medianOf(result, 'p50Ms')),
          figure(medianOf(result, 'p99Ms')),
          figure(cpu),
          times(ceiling && perSecond / medianOf(ceiling, 'requestsPerSecond')),
          times(fastest && perSecond / medianOf(fastest, 'requestsPerSecond')),
          times(leanest && cpu / medianOf(leanest, 'cpuMicroseconds')),
          figure(medianOf(result, 'redisCommands')),
          figure(medianOf(result, 'redisMicroseconds')),
          figure(medianOf(result, 'statements')),
          percent(rates.length === 0 ? undefined : median(rates)),
          String(result.rounds.reduce((sum, { errors }) => sum + errors, 0)),
        ];
      }),
    };
  });
}
