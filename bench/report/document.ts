import type { Machine } from './machine.js';
import type { Results } from './results.js';
import { toMarkdown, type Table } from './table.js';

/** The report of a run as Markdown. */
export function toDocument({ machine, quick }: Results, tables: readonly Table[]): string {
  return [
    '# Benchmark results',
    '',
    `Written by \`npm run bench${quick ? ' -- --quick' : ''}\`.${quick ? ' A quick run: short rounds, so take the figures as rough.' : ''}`,
    '',
    ...describe(machine),
    '',
    '![Requests per second and CPU time](results.svg)',
    '',
    '## How it is measured',
    '',
    ...HOW.map((line) => `- ${line}`),
    '',
    ...tables.map(toMarkdown),
  ].join('\n');
}

const describe = ({ cores, processor, memoryGigabytes, versions }: Machine): string[] => [
  `Machine: ${cores} cores (${processor}), ${memoryGigabytes} GB. The load generator, PostgreSQL and Redis share them with the server under test.`,
  '',
  `Versions: ${versions.map(([name, version]) => `${name} ${version}`).join(', ')}.`,
];

const HOW = [
  'Every server is a process of its own; one is under load, the others idle beside it. The same PostgreSQL, Redis, data, pool size, SQL statements (the repositories of `src`), token check and authorization rule for all; each has a Redis database of its own.',
  'The opponents get the settings of our Redis client (auto-pipelining, no offline queue, no retries), and no time limit for commands except where Redis fails. Their callers’ memberships are cached in Redis, and answers are kept apart by organization. A drops what ours drops, by the same tags; B by its references; C by one SCAN for a change, as its documentation advises; D by the ids in the mutation’s answer.',
  'The ceiling is bare node:http: it looks whether there is a token, does one Redis GET by the request’s body and sends the bytes it finds.',
  'Before anything is timed, every server must answer the same data (`computedAt` aside), first and repeated, and must refuse a caller of another organization and one without a token.',
  '64 keep-alive connections, each sending its next request when the last is answered. Rounds are interleaved, and the order of the servers rotates. Medians of the rounds; ± is half the range of requests/s.',
  'Whether the caller may make a change is decided by the statement that makes it, the same for all. The opponents read the caller first all the same, as their contexts do for every request.',
  '“Cache for nothing” is our server with a map in the process in the place of its cache, which is never invalidated and asks nobody: what is left is HTTP, GraphQL and the resolvers, which every cache in its place pays for as well.',
  'CPU µs is user and system time of the server process for a request, from /proc. Redis commands count those inside scripts. Hits are counted as each library counts them: whole answers, resolvers, or values.',
  'List pages are drawn from 50, details and statistics from 200 bots. Where every read is to be a miss, the Redis database is emptied first, and pages of 100 organizations that nothing else reads are asked for once each, by their own users.',
  'PostgreSQL runs without fsync, synchronous commits and autovacuum, so that no disk and no background work is in the figures.',
];
