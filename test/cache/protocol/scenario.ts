import * as fc from 'fast-check';

import { drive, driveOut } from './drive.js';
import type { Scheduler } from './steps.js';
import {
  BOTS,
  OUTSIDE_WRITES,
  RESOURCES,
  System,
  VIEWS,
  type OutsideWrite,
  type Parts,
  type Process,
  type ResourceName,
} from './system.js';

const PROCESSES = 2;

type Step =
  | {
      readonly do: 'read';
      readonly process: number;
      readonly view: (typeof VIEWS)[number];
      readonly bot: string;
    }
  | { readonly do: 'update' | 'record'; readonly process: number; readonly bot: string }
  | { readonly do: 'outside write'; readonly what: OutsideWrite; readonly bot: string }
  | { readonly do: 'evict'; readonly kind: 'generation' | 'other'; readonly nth: number }
  | { readonly do: 'network'; readonly process: number; readonly is: 'up' | 'down' | 'late' }
  | { readonly do: 'poll'; readonly process: number }
  | {
      readonly do: 'refresh';
      readonly process: number;
      readonly resource: ResourceName;
      readonly bot: string;
    }
  | { readonly do: 'dump' | 'restore' };

/** The actions of concurrent clients, in order for each client. */
export interface Scenario {
  readonly cluster: boolean;
  /** Whether Redis works, so that no read may go backwards and each answer must be of one moment. */
  readonly isOrdered: boolean;
  readonly delays: readonly number[];
  /** Whether every process reads the log again before the last reads; if not, generations alone must keep them right. */
  readonly pollsInTheEnd: boolean;
  readonly clients: readonly (readonly Step[])[];
}

const process = fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(1) });
// Most actions concern one bot, so that they interfere.
const bot = fc.oneof(
  { weight: 3, arbitrary: fc.constant(BOTS[0]) },
  { weight: 1, arbitrary: fc.constant(BOTS[1]) },
);
// Some messages and commits are delayed until everything else has happened.
const delays = fc.array(
  fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(12) }),
  { minLength: 7, maxLength: 23 },
);
const read: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('read'),
  process,
  view: fc.constantFrom(...VIEWS),
  bot,
});
const mutation: fc.Arbitrary<Step> = fc.record({ do: fc.constantFrom('update', 'record'), process, bot });
const eviction: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('evict'),
  kind: fc.constantFrom('generation', 'other'),
  nth: fc.nat({ max: 9 }),
});
const poll: fc.Arbitrary<Step> = fc.record({ do: fc.constant('poll'), process });
const refresh: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('refresh'),
  process,
  resource: fc.constantFrom(...RESOURCES),
  bot,
});
const outsideWrite: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('outside write'),
  what: fc.constantFrom(...OUTSIDE_WRITES),
  bot,
});
const network: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('network'),
  process,
  is: fc.constantFrom('up', 'up', 'down', 'late'),
});
const redis: fc.Arbitrary<Step> = fc.record({ do: fc.constantFrom('dump', 'restore') });

const steps = (most: number, ...kinds: fc.Arbitrary<Step>[]): fc.Arbitrary<Step[]> =>
  fc.array(fc.oneof(...kinds), { minLength: 1, maxLength: most });

const clients = fc.array(steps(5, read, read, read, mutation, mutation), { minLength: 2, maxLength: 3 });

/** Scenarios without faults, only evictions. */
export const healthy: fc.Arbitrary<Scenario> = fc.record({
  cluster: fc.boolean(),
  isOrdered: fc.constant(true),
  delays,
  pollsInTheEnd: fc.constant(false),
  clients: fc.tuple(clients, steps(4, eviction)).map(([users, evictions]) => [...users, evictions]),
});

/** Scenarios without faults on one bot and one view, so that most actions interfere. */
export const narrow: fc.Arbitrary<Scenario> = fc
  .tuple(fc.constantFrom('bot', 'stats', 'details'), fc.nat({ max: PROCESSES - 1 }))
  .chain(([view, most]) => {
    const at = fc.nat({ max: most });
    const one: fc.Arbitrary<Step> = fc.record({
      do: fc.constant('read'),
      process: at,
      view: fc.constant(view),
      bot: fc.constant(BOTS[0]),
    });
    const change: fc.Arbitrary<Step> = fc.record({
      do: fc.constant(view === 'bot' ? 'update' : 'record'),
      process: at,
      bot: fc.constant(BOTS[0]),
    });
    return fc.record({
      cluster: fc.constant(false),
      isOrdered: fc.constant(true),
      delays,
      pollsInTheEnd: fc.constant(false),
      clients: fc.array(steps(3, one, one, change), { minLength: 3, maxLength: 4 }),
    });
  });

/** Scenarios in which Redis loses invalidations, in every possible way. */
export const faulty: fc.Arbitrary<Scenario> = fc.record({
  cluster: fc.boolean(),
  isOrdered: fc.constant(false),
  delays,
  pollsInTheEnd: fc.constant(true),
  clients: fc
    .tuple(
      clients,
      steps(6, eviction, network, network, redis, redis),
      steps(3, outsideWrite),
      steps(5, poll),
    )
    .map(([users, ...others]) => [...users, ...others]),
});

const clientsWithOutsideWrites = fc.array(steps(5, read, read, read, mutation, outsideWrite), {
  minLength: 2,
  maxLength: 3,
});

/** Scenarios in which Redis works, and SQL writes past all processes: only loads tell of these writes. */
export const outside: fc.Arbitrary<Scenario> = fc.record({
  cluster: fc.boolean(),
  isOrdered: fc.constant(true),
  delays,
  pollsInTheEnd: fc.constant(true),
  clients: fc
    .tuple(clientsWithOutsideWrites, steps(3, eviction, poll))
    .map(([users, others]) => [...users, others]),
});

/** The same for two bots in single reads, so that most actions interfere. */
export const outsideNarrow: fc.Arbitrary<Scenario> = fc.nat({ max: PROCESSES - 1 }).chain((most) => {
  const at = fc.nat({ max: most });
  const one: fc.Arbitrary<Step> = fc.record({
    do: fc.constant('read'),
    process: at,
    view: fc.constantFrom('bot', 'both bots', 'one bot, then the other'),
    bot: fc.constantFrom(...BOTS),
  });
  const change: fc.Arbitrary<Step> = fc.record({
    do: fc.constant('outside write'),
    what: fc.constantFrom('one', 'both'),
    bot: fc.constant(BOTS[0]),
  });
  return fc.record({
    cluster: fc.boolean(),
    isOrdered: fc.constant(true),
    delays,
    pollsInTheEnd: fc.constant(true),
    clients: fc.array(steps(4, one, one, change), { minLength: 2, maxLength: 3 }),
  });
});

/** Scenarios in which one process learns of writes by SQL mostly from the log, whose entries commit in any order. */
export const logged: fc.Arbitrary<Scenario> = fc
  .tuple(...BOTS.map((each) => fc.constant<Step>({ do: 'outside write', what: 'one', bot: each })))
  .chain((writes) => {
    const one: fc.Arbitrary<Step> = fc.constant({ do: 'read', process: 0, view: 'bot', bot: BOTS[0] });
    const readLog: fc.Arbitrary<Step> = fc.constant({ do: 'poll', process: 0 });
    return fc.record({
      cluster: fc.constant(false),
      isOrdered: fc.constant(true),
      delays,
      pollsInTheEnd: fc.constant(true),
      clients: fc.tuple(
        steps(3, one),
        steps(4, readLog),
        ...writes.map((write) => steps(2, fc.constant(write))),
      ),
    });
  });

/** Scenarios in which Redis works, and both processes load values again that may be cached. */
export const refreshed: fc.Arbitrary<Scenario> = fc.record({
  cluster: fc.boolean(),
  isOrdered: fc.constant(true),
  delays,
  pollsInTheEnd: fc.constant(false),
  clients: fc
    .tuple(
      fc.array(steps(4, read, read, mutation), { minLength: 2, maxLength: 2 }),
      steps(5, refresh),
      steps(3, eviction, refresh),
    )
    .map(([users, ...others]) => [...users, ...others]),
});

/** Few actions on two bots, without faults: so small that a simulation reaches many orders of them. */
export const small: fc.Arbitrary<Scenario> = fc.record({
  cluster: fc.boolean(),
  isOrdered: fc.constant(true),
  delays: fc.oneof(fc.constant([0]), delays),
  pollsInTheEnd: fc.constant(true),
  clients: fc
    .tuple(
      fc.array(steps(3, read, read, mutation, outsideWrite), { minLength: 2, maxLength: 3 }),
      steps(2, eviction, poll, refresh),
    )
    .map(([users, others]) => [...users, others]),
});

/**
 * Runs a scenario in the order that the scheduler chooses. Returns what was wrong.
 * @param onState called after each step
 */
export async function play(
  scheduler: Scheduler,
  { cluster, isOrdered, delays, pollsInTheEnd, clients }: Scenario,
  parts: Parts,
  onState: (system: System) => void = () => {},
): Promise<string[]> {
  const system = new System(scheduler, parts, cluster, PROCESSES, delays, isOrdered);
  const { processes, ledger } = system;
  await Promise.all(processes.map(async (each) => await each.start()));
  const perform = performer(system);
  const all = Promise.all(
    clients.map(async (client, i) => {
      for (const [j, step] of client.entries()) {
        await system.steps.next(`client ${i} goes on`);
        await perform(step, `client ${i}, step ${j}`);
      }
    }),
  );
  const observe = () => onState(system);
  await drive(scheduler, all, observe);
  await driveOut(scheduler, observe);
  await drive(scheduler, settle(system, pollsInTheEnd), observe);
  await Promise.all(processes.map(async (each) => await each.stop()));
  return ledger.violations;
}

function performer(system: System): (step: Step, who: string) => Promise<void> {
  const { redis, ledger, processes } = system;
  let restore: (() => void) | undefined;
  const at = (i: number): Process => processes[i] as Process;
  return async (step, who) => {
    switch (step.do) {
      case 'read':
        await system.check(at(step.process), step.view, step.bot);
        break;
      case 'update':
      case 'record':
        await system.mutate(at(step.process), step.do, step.bot, who);
        break;
      case 'outside write':
        await system.writeOutside(step.what, step.bot, who);
        break;
      case 'evict':
        redis.evict(step.kind, step.nth);
        break;
      case 'network':
        if (step.is === 'up') await at(step.process).recover();
        else at(step.process).store.network = step.is;
        break;
      case 'poll':
        await at(step.process).poll();
        break;
      case 'refresh':
        await at(step.process).refresh(step.resource, step.bot);
        break;
      case 'dump':
        restore = redis.dump();
        break;
      case 'restore':
        if (!restore) break;
        restore();
        ledger.layerOneIsLost();
        break;
    }
  };
}

/** At the end, after all late messages have arrived, every process must show every write. */
async function settle(system: System, polls: boolean): Promise<void> {
  for (const process of system.processes) {
    await process.recover();
    if (polls) await process.poll();
  }
  for (const process of system.processes) {
    for (const view of VIEWS) await system.check(process, view, BOTS[0]);
  }
}
