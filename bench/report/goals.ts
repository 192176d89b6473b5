import type { ThroughputResult } from '../measure/throughput.js';
import type { Results } from './results.js';
import { growthOf } from './costs.js';
import { figure, percent, type Table } from './table.js';
import { byWorkload, medianOf, yardsticks } from './throughput.js';

/** One goal, and whether this run reached it. */
interface Goal {
  readonly what: string;
  readonly wanted: string;
  readonly measured: string;
  readonly met: boolean;
  /** The figure of a reference that does little more than every server must. */
  readonly reference?: string | undefined;
}

const READS = new Set(['list', 'details', 'stats', 'selections']);
const MISSES = new Set(['cold', 'search']);
/** The most that a workload may cost to the leanest opponent, as shipped. */
const AS_SHIPPED = 2 / 3;
const BESIDE_UPDATES = 0.8;
/** Misses, to a server without a cache: at most this CPU time, and at least this rate. */
const CPU_OF_MISSES = 0.9;
const RATE_OF_MISSES = 1 / 0.9;
/** The share of hits among reads of what was not written, and the memory to the leanest opponent's. */
const HIT_RATE = 0.95;
const MEMORY = 1.3;

const NOTES = [
  'CPU time of the server process for a request is the steadiest figure where the load generator shares the cores. The reference does hardly more than what no server can leave out: as shipped, it is the ceiling (one Redis GET, and bytes sent); with the response cache off, our server with a cache for nothing. Where a goal lies beyond the reference, the opponent is too near to that to be left behind so far.',
  'What falls short, why, and what was tried for it:',
  '- **Details and statistics, as shipped**: these answers are small, so nearly all of a request is Node’s HTTP server, for the ceiling as for us. Tried and kept: answers sent before the body is parsed, hooks without promises, one MGET for all requests of a turn of the event loop, what is needed to repeat an answer made when it is first repeated. Tried and dropped: answers as strings instead of buffers (no gain).',
  '- **Response cache off**: nearly all of it is HTTP, GraphQL and the resolvers (the reference; it can be slower, because requests that wait for one MGET are answered together, which is cheaper), and opponent A is that same server with another cache. B has the leaner one: mercurius does without what Apollo Server and type-graphql check. Tried and kept: documents that Apollo Server has let through before skip its pipeline; plans that resolve a field for all items of a list together and write JSON; statistics read in the round trip of the page that is expected; values parsed once for each text. Tried and dropped: values kept in the process and checked by their generation alone (a value that is deleted in Redis must be gone); a larger or single-threaded young generation (no gain).',
  '- **5 % updates**: after each update two answers have to be built again, under a claim, with a fill that checks it, so that no old value can come back; B stores whatever it has loaded, and a third of what it reads beside writes is stale (below). Tried and kept: changes that need no look at the bot or the caller first, one lock for a batch, generations drawn from a pool of random bytes.',
  '- **Cold list pages**: filling is what plain Apollo without a cache does not do: 22 values under a claim, each with its generations, and the answer is kept. Without its SQL, a batch of 20 statistics costs about 0.5 ms to claim and store. Tried and kept: values that nobody has looked up are read and claimed in one round trip; the page of a search, and the statistics that it shows, are stored only when they are asked for again; one claim, one lock and one fill for a batch; rows mapped by a description that is made once; what only a repeated answer needs is made when it is repeated.',
  '- **A cold burst**: 1,000 requests at once keep two processes on two cores busy for longer than one waits for what the other loads (150 ms); it then loads by itself, which is at most three statements more a process.',
  '- **Memory**: as shipped, a process holds up to 64 MB of responses, 16 MB of plans, and for each resource the parsed form of up to 8 MB of stored text, which the leanest opponent does not have. Tried and kept: a body is made from its text at its first repetition; loaders are made when they are used. Tried and dropped: a smaller or single-threaded young generation (no gain).',
  '- **Changes**: one SQL statement and one round trip, as the bare ones; what remains is GraphQL and HTTP. Tried and kept: no read of the bot before, then none of the caller. Measured and left: an invalidation is two commands in one round trip, 0.17 ms beside 0.13 ms for one.',
];

/** A table of the goals, and whether this run reached them. */
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
      notes: NOTES,
      columns: ['goal', 'wanted', 'measured', 'met', 'the reference'],
      rows: goals.map(({ what, wanted, measured, met, reference }) => [
        what,
        wanted,
        measured,
        met ? 'yes' : '**no**',
        reference ?? '',
      ]),
    },
  ];
}

const atMost = (what: string, most: number, value: number, reference?: number): Goal => ({
  what,
  wanted: `≤ ${most.toFixed(2)}`,
  measured: figure(value),
  met: value <= most,
  reference: reference === undefined ? undefined : figure(reference),
});

const atLeast = (what: string, least: number, value: number, reference?: number): Goal => ({
  what,
  wanted: `≥ ${least.toFixed(2)}`,
  measured: figure(value),
  met: value >= least,
  reference: reference === undefined ? undefined : figure(reference),
});

function throughputGoals(group: readonly ThroughputResult[]): Goal[] {
  const find = (id: string) => group.find(({ server }) => server.contender.id === id);
  const [ours, resolvers, a, b, apollo, free] = ['ours', 'resolvers', 'A', 'B', 'apollo', 'free'].map(find);
  const { ceiling, fastest, leanest } = yardsticks(group);
  const id = group[0]?.workload.id ?? '';
  const cpuTo = (own: ThroughputResult, other: ThroughputResult): number =>
    medianOf(own, 'cpuMicroseconds') / medianOf(other, 'cpuMicroseconds');
  const rateTo = (own: ThroughputResult, other: ThroughputResult): number =>
    medianOf(own, 'requestsPerSecond') / medianOf(other, 'requestsPerSecond');
  const goals: Goal[] = [];
  if (MISSES.has(id)) {
    for (const [own, name] of [
      [ours, id],
      [resolvers, `${id}, response cache off`],
    ] as const) {
      if (own && apollo) {
        goals.push(
          atMost(`${name}: CPU to plain Apollo's without a cache`, CPU_OF_MISSES, cpuTo(own, apollo)),
        );
        goals.push(atLeast(`${name}: requests/s to plain Apollo's`, RATE_OF_MISSES, rateTo(own, apollo)));
      }
      if (own && leanest)
        goals.push(atMost(`${name}: CPU to the leanest opponent's`, 1, cpuTo(own, leanest)));
      if (own && fastest)
        goals.push(atLeast(`${name}: requests/s to the fastest opponent's`, 1, rateTo(own, fastest)));
    }
  } else if (ours) {
    // The ceiling sends prepared answers to updates, so it is no bound for them.
    const bound = READS.has(id) ? ceiling : undefined;
    if (leanest) {
      const [value, best] = [cpuTo(ours, leanest), bound && cpuTo(bound, leanest)];
      const most = READS.has(id) ? AS_SHIPPED : BESIDE_UPDATES;
      goals.push(atMost(`${id}: CPU to the leanest opponent's`, most, value, best));
    }
    if (fastest) {
      const [value, best] = [rateTo(ours, fastest), bound && rateTo(bound, fastest)];
      goals.push(atLeast(`${id}: requests/s to the fastest opponent's`, 1.5, value, best));
    }
    if (ceiling && READS.has(id)) {
      goals.push(atLeast(`${id}: requests/s to the ceiling's`, 0.75, rateTo(ours, ceiling)));
    }
  }
  if (resolvers && a) {
    const best = free && rateTo(free, a);
    goals.push(atLeast(`${id}, response cache off: requests/s to A's`, 1.5, rateTo(resolvers, a), best));
  }
  if (resolvers && b && READS.has(id)) {
    const best = free && cpuTo(free, b);
    goals.push(atMost(`${id}, response cache off: CPU to B's`, 1, cpuTo(resolvers, b), best));
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
        wanted: `≥ ${percent(HIT_RATE)}`,
        measured: percent(hitRate),
        met: hitRate >= HIT_RATE,
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

function costGoals({ mutations, invalidation, growth, memory }: Results): Goal[] {
  const goals: Goal[] = [];
  const resident = (role: string) => memory.filter(({ server }) => server.contender.role === role);
  const leastMegabytes = Math.min(...resident('opponent').map(({ residentMegabytes }) => residentMegabytes));
  for (const { server, residentMegabytes } of resident('ours')) {
    if (leastMegabytes === Infinity) break;
    const what = `${server.contender.title}: memory of the process to the leanest opponent's`;
    goals.push(atMost(what, MEMORY, residentMegabytes / leastMegabytes));
  }
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
