import { CONTENDERS, otherBuild, type Contender } from './servers/contenders.js';

/** The length and number of measurements. */
export interface Pace {
  readonly rounds: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Reads in a round of the workload in which every read is a miss. */
  readonly coldReads: number;
  /** Requests of each of the two processes in a cold burst. */
  readonly burst: number;
  readonly staleMs: number;
  readonly busyMs: number;
  /** Requests of a round for each of several processes. */
  readonly fleetRequests: number;
  readonly fleetStaleMs: number;
  /** Requests of a workload with which each of several processes warms up. */
  readonly fleetWarming: number;
  readonly mutations: number;
  readonly largeRecords: number;
  readonly otherKeys: number;
  /** Bots whose details and statistics are read once before memory is weighed; their list pages as well. */
  readonly cachedBots: number;
  /** Requests of a workload whose answers are compared. */
  readonly samples: number;
}

/** The options of a run. */
export interface Options {
  readonly quick: boolean;
  readonly pace: Pace;
  /** Everything that can be measured. */
  readonly contenders: readonly Contender[];
  /** The servers to measure. */
  readonly servers: readonly string[];
  /** The parts to run; all but the long ones by default. */
  readonly parts: readonly string[];
  /** The throughput workloads to run; all by default. */
  readonly workloads: readonly string[] | undefined;
  /** Whether something is left out, so that the report would be incomplete. */
  readonly partial: boolean;
}

const FULL: Pace = {
  rounds: 5,
  warmUpMs: 300,
  measureMs: 1_300,
  coldReads: 1_000,
  burst: 500,
  staleMs: 4_000,
  busyMs: 3_000,
  fleetRequests: 4_000,
  fleetStaleMs: 3_000,
  fleetWarming: 12_000,
  mutations: 400,
  largeRecords: 40,
  otherKeys: 1_000_000,
  cachedBots: 1_000,
  samples: 20,
};

const QUICK: Pace = {
  rounds: 2,
  warmUpMs: 60,
  measureMs: 250,
  coldReads: 100,
  burst: 200,
  staleMs: 400,
  busyMs: 300,
  fleetRequests: 500,
  fleetStaleMs: 800,
  fleetWarming: 2_000,
  mutations: 50,
  largeRecords: 5,
  otherKeys: 100_000,
  cachedBots: 200,
  samples: 5,
};

/** The parts of a run, in order. */
export const PARTS = ['throughput', 'memory', 'pairs', 'mutations', 'invalidation', 'faults'] as const;

/** Parts that are measured only with `--growth`, because each takes minutes. */
export const LONG_PARTS = ['scale-out', 'growth', 'steady-memory'] as const;

/**
 * Reads the command line: `--quick`, `--growth`, and for work on the benchmark itself `--servers=ours,B`,
 * `--parts=throughput,faults`, `--workloads=list` and `--rounds=1`. `--before=DIRECTORY` measures another build of ours as well:
 * a checkout in which `npm run build` was run.
 */
export function readOptions(args: readonly string[]): Options {
  const list = (name: string): readonly string[] | undefined =>
    args
      .find((arg) => arg.startsWith(`--${name}=`))
      ?.split('=')[1]
      ?.split(',');
  const quick = args.includes('--quick');
  const pace = quick ? QUICK : FULL;
  const rounds = list('rounds')?.[0];
  const before = list('before')?.[0];
  const contenders = [...CONTENDERS, ...(before === undefined ? [] : otherBuild(before))];
  return {
    quick,
    pace: { ...pace, ...(rounds === undefined ? {} : { rounds: Number(rounds) }) },
    contenders,
    servers: list('servers') ?? contenders.map(({ id }) => id),
    parts: [...(list('parts') ?? PARTS), ...(args.includes('--growth') ? LONG_PARTS : [])],
    workloads: list('workloads'),
    partial: ['servers', 'parts', 'workloads'].some((name) => list(name) !== undefined),
  };
}
