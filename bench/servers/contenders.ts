import path from 'node:path';

/** A server that is measured. */
export interface Contender {
  readonly id: string;
  readonly title: string;
  /** The program, in `dist-bench`. */
  readonly entry: string;
  readonly env: Readonly<Record<string, string>>;
  /** Ours is compared with opponents; references show what is possible, or the cost without a cache. */
  readonly role: 'ours' | 'opponent' | 'reference';
  readonly usesRedis: boolean;
  /** Whether it ignores writes, so that it can only serve stored answers. */
  readonly onlyReads?: boolean;
}

const OURS = 'src/main.js';

/** All servers that are measured, in the order of the report. */
export const CONTENDERS: readonly Contender[] = [
  { id: 'ours', title: 'Flovo Bots, as shipped', entry: OURS, env: {}, role: 'ours', usesRedis: true },
  {
    id: 'resolvers',
    title: 'Flovo Bots, response cache off',
    entry: OURS,
    env: { RESPONSE_CACHE: 'off' },
    role: 'ours',
    usesRedis: true,
  },
  {
    id: 'A',
    title: 'A: our server + async-cache-dedupe',
    entry: 'bench/servers/dedupe.js',
    env: {},
    role: 'opponent',
    usesRedis: true,
  },
  {
    id: 'B',
    title: 'B: mercurius (jit) + mercurius-cache',
    entry: 'bench/servers/mercurius.js',
    env: {},
    role: 'opponent',
    usesRedis: true,
  },
  {
    id: 'C',
    title: 'C: Apollo + response cache',
    entry: 'bench/servers/apollo.js',
    env: {},
    role: 'opponent',
    usesRedis: true,
  },
  {
    id: 'D',
    title: 'D: Yoga + response cache',
    entry: 'bench/servers/yoga.js',
    env: {},
    role: 'opponent',
    usesRedis: true,
  },
  {
    id: 'E',
    title: 'E: our server, no cache',
    entry: 'bench/servers/uncached.js',
    env: {},
    role: 'reference',
    usesRedis: false,
  },
  {
    id: 'free',
    title: 'E: our server, response cache off, cache for nothing',
    entry: 'bench/servers/free-cache.js',
    env: {},
    role: 'reference',
    usesRedis: false,
    onlyReads: true,
  },
  {
    id: 'seed',
    title: 'E: our server + GET/SET, delete by pattern',
    entry: 'bench/servers/seed.js',
    env: {},
    role: 'reference',
    usesRedis: true,
  },
  {
    id: 'apollo',
    title: 'plain Apollo, no cache',
    entry: 'bench/servers/apollo.js',
    env: { BENCH_RESPONSE_CACHE: 'off' },
    role: 'reference',
    usesRedis: false,
  },
  {
    id: 'ceiling',
    title: 'ceiling: node:http + one GET',
    entry: 'bench/servers/ceiling.js',
    env: {},
    role: 'reference',
    usesRedis: true,
  },
];

/** Another build of ours, compiled in its own checkout, to be measured beside this one on the same database. */
export const otherBuild = (directory: string): readonly Contender[] =>
  CONTENDERS.filter(({ entry }) => entry === OURS).map((ours) => ({
    ...ours,
    id: `before-${ours.id}`,
    title: `before: ${ours.title}`,
    entry: path.resolve(directory, 'dist/main.js'),
  }));

/** @throws Error if there is no such server */
export function contender(id: string, among: readonly Contender[] = CONTENDERS): Contender {
  const found = among.find((each) => each.id === id);
  if (!found) throw new Error(`No server "${id}"; there are ${among.map((each) => each.id).join(', ')}`);
  return found;
}
