import type { ThroughputResult } from '../measure/throughput.js';
import type { Results } from './results.js';
import { growthOf } from './costs.js';
import { figure, percent, type Table } from './table.js';
import { byWorkload, medianOf, yardsticks } from './throughput.js';

/** One thing that was set out to be reached. */
interface Goal {
  readonly what: string;
  readonly wanted: string;
  readonly measured: string;
  readonly met: boolean;
}

const READS = new Set(['list', 'details', 'stats', 'selections']);
const LEVEL_WITH_B = new Set(['list', 'selections']);

/** What was set out to be reached, and whether this run did. */
export function goalsTable(results: Results): Table[] {
  const goals = [
    ...byWorkload(results.throughput).flatMap(throughputGoals),
    ...behaviourGoals(results),
    ...costGoals(results),
  ];
  if (goals.length === 0) return [];
  return [
    {
      title: 'What was set out to be reached',
      notes: [
        'CPU time of the server process for a request is the steadiest figure where the load generator shares the cores.',
      ],
      columns: ['goal', 'wanted', 'measured', 'met'],
      rows: goals.map(({ what, wanted, measured, met }) => [what, wanted, measured, met ? 'yes' : '**no**']),
    },
  ];
}

const atMost = (what: string, most: number, value: number): Goal => ({
  what,
  wanted: `≤ ${most.toFixed(2)}`,
  measured: figure(value),
  met: value <= most,
});

const atLeast = (what: string, least: number, value: number): Goal => ({
  what,
  wanted: `≥ ${least.toFixed(2)}`,
  measured: figure(value),
  met: value >= least,
});

function throughputGoals(group: readonly ThroughputResult[]): Goal[] {
  const find = (id: string) => group.find(({ server }) => server.contender.id === id);
  const [ours, resolvers, a, b, apollo] = ['ours', 'resolvers', 'A', 'B', 'apollo'].map(find);
  const { ceiling, fastest, leanest } = yardsticks(group);
  const id = group[0]?.workload.id ?? '';
  const cpuTo = (own: ThroughputResult, other: ThroughputResult): number =>
    medianOf(own, 'cpuMicroseconds') / medianOf(other, 'cpuMicroseconds');
  const rateTo = (own: ThroughputResult, other: ThroughputResult): number =>
    medianOf(own, 'requestsPerSecond') / medianOf(other, 'requestsPerSecond');
  const goals: Goal[] = [];
  if (ours && id === 'cold') {
    if (apollo) goals.push(atMost(`${id}: CPU to plain Apollo's without a cache`, 1, cpuTo(ours, apollo)));
    if (leanest) goals.push(atMost(`${id}: CPU to the leanest opponent's`, 1, cpuTo(ours, leanest)));
  } else if (ours) {
    if (leanest) goals.push(atMost(`${id}: CPU to the leanest opponent's`, 2 / 3, cpuTo(ours, leanest)));
    if (fastest)
      goals.push(atLeast(`${id}: requests/s to the fastest opponent's`, 1.5, rateTo(ours, fastest)));
    if (ceiling && READS.has(id)) {
      goals.push(atLeast(`${id}: requests/s to the ceiling's`, 0.75, rateTo(ours, ceiling)));
    }
  }
  if (resolvers && a) {
    goals.push(atLeast(`${id}, response tier off: requests/s to A's`, 1.5, rateTo(resolvers, a)));
  }
  if (resolvers && b && LEVEL_WITH_B.has(id)) {
    goals.push(atLeast(`${id}, response tier off: requests/s to B's`, 1, rateTo(resolvers, b)));
  }
  return goals;
}

function behaviourGoals({ pairs, faults }: Results): Goal[] {
  const goals: Goal[] = [];
  for (const { server, stale, burst, burstStatements, busyBot } of pairs) {
    if (server.contender.role !== 'ours') continue;
    const { title } = server.contender;
    goals.push(
      atMost(`${title}: stale reads beside writes`, 0, stale.staleReads),
      atMost(`${title}: SQL statements for ${burst.requests} identical cold reads`, 6, burstStatements),
    );
    for (const [what, { hitRate }] of [
      ['of others beside a busy bot', busyBot.others],
      ["of the busy bot's statistics", busyBot.busy],
    ] as const) {
      goals.push({
        what: `${title}: hits ${what}`,
        wanted: '≥ 95 %',
        measured: percent(hitRate),
        met: hitRate >= 0.95,
      });
    }
  }
  for (const { contender, frozen, killed } of faults) {
    if (contender.role !== 'ours') continue;
    goals.push(
      atMost(`${contender.title}: failed requests while Redis was away`, 0, frozen.errors + killed.errors),
    );
  }
  return goals;
}

function costGoals({ mutations, invalidation, growth }: Results): Goal[] {
  const goals: Goal[] = [];
  const bare = mutations?.update.find(({ server }) => server.contender.id === 'ceiling');
  for (const { server, latency } of mutations?.update ?? []) {
    if (server.contender.role !== 'ours' || !bare) continue;
    const ratio = latency.p50Ms / bare.latency.p50Ms;
    goals.push(atMost(`${server.contender.title}: updateBot to the bare SQL and one round trip`, 1.3, ratio));
  }
  for (const { server, fewMs, manyMs } of invalidation) {
    if (server.contender.role !== 'ours') continue;
    goals.push(atMost(`${server.contender.title}: updateBot among many other keys`, 1.2, manyMs / fewMs));
  }
  for (const result of growth) {
    goals.push(atMost(`${result.read}, ${result.temperature}, at 1,000,000 bots`, 1.2, growthOf(result)));
  }
  return goals;
}
