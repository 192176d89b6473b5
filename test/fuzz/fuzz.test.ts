import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import * as fc from 'fast-check';
import { buildSchema } from 'graphql';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { FuzzedServer, type FuzzAnswer } from './fuzzed-server.js';
import { fuzzRequests, type FuzzRequest } from './requests.js';

/** The number of generated requests; 100,000 take about a quarter of an hour. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 5_000);
/** `FUZZ_SEED=… FUZZ_RUNS=…` generates the requests of an earlier run. */
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000_000);
const AT_ONCE = 8;
/** Few enough for the lists of bots to stay short. */
const CASES_BEFORE_RESET = 500;
const MAX_SHRUNK = 4;
const MAX_SHRINKING_MS = 20_000;
/** How much CPU time of the server one answer may cost (s). */
const MAX_ANSWER_CPU_S = 1;
const SLOWEST_KEPT = 5;
/** The same requests, asked again and again, must leave nothing behind; caches of texts that differ may still fill (MB). */
const MAX_GROWTH_MB = 16;
const REPEATED_CASES = 400;
const REPETITIONS = 3;

jest.setTimeout(120_000 + RUNS * 60);

const schema = buildSchema(readFileSync(path.join(process.cwd(), 'schema/schema.graphql'), 'utf8'));

interface Found {
  readonly problem: string;
  readonly request: FuzzRequest;
  readonly answer: FuzzAnswer;
  /** How to generate the request again. */
  readonly seed: number;
  readonly number: number;
}

describe('whatever clients send', () => {
  let server: FuzzedServer;
  const arbitrary = fuzzRequests(schema);
  const slowest: { readonly request: FuzzRequest; readonly ms: number }[] = [];

  beforeAll(async () => {
    server = await FuzzedServer.start();
  });

  afterAll(async () => {
    await server?.close();
  });

  test(`no error is unexpected, and the server goes on (seed ${SEED})`, async () => {
    const found: Found[] = [];
    const statuses = new Map<number, number>();
    let withData = 0;
    const startedAt = performance.now();
    for (let done = 0; done < RUNS; done += CASES_BEFORE_RESET) {
      const seed = SEED + done;
      const requests = fc.sample(arbitrary, { seed, numRuns: Math.min(CASES_BEFORE_RESET, RUNS - done) });
      await forEach(requests, async (request, number) => {
        const answer = await server.send(request);
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        if (/"data":\{/.test(answer.body)) withData += 1;
        noteSlow(request, answer.ms);
        const problem = problemOf(request, answer);
        if (problem !== undefined) found.push({ problem, request, answer, seed, number });
      });
      expect(await server.isWell()).toBe(true);
      await server.reset();
    }
    process.stderr.write(
      `  ${RUNS} requests of seed ${SEED}: ${withData} with data, ${Math.round((performance.now() - startedAt) / 1_000)} s, ` +
        `the slowest ${Math.round(slowest[0]?.ms ?? 0)} ms; ${[...statuses].map(([status, count]) => `${count} × ${status}`).join(', ')}\n`,
    );
    await expectNothing(found);
    expect(server.errors()).toEqual([]);
    // The requests are hostile, but most of them reach a resolver.
    expect(withData / RUNS).toBeGreaterThan(0.2);
  });

  test('no answer costs a second', async () => {
    expect(slowest.length).toBe(Math.min(SLOWEST_KEPT, RUNS));
    for (const { request, ms } of slowest) {
      const before = await server.cpuSeconds();
      await server.send(request);
      const cpu = (await server.cpuSeconds()) - before;
      process.stderr.write(
        `  ${Math.round(ms)} ms among others, ${Math.round(cpu * 1_000)} ms of CPU alone\n`,
      );
      if (cpu >= MAX_ANSWER_CPU_S) throw new Error(`${cpu} s of CPU:\n${describeRequest(request)}`);
    }
  });

  test('nothing of a request stays behind', async () => {
    const numRuns = Math.min(REPEATED_CASES, RUNS);
    const requests = fc.sample(arbitrary, { seed: SEED, numRuns });
    const heaps: number[] = [];
    for (let time = 0; time < REPETITIONS; time++) {
      await forEach(requests, async (request) => await server.send(request));
      heaps.push((await server.heapBytes()) / 1024 / 1024);
      await server.reset();
    }
    process.stderr.write(`  the heap after each repetition: ${heaps.map(Math.round).join(', ')} MB\n`);
    expect((heaps.at(-1) ?? 0) - (heaps[0] ?? 0)).toBeLessThan(MAX_GROWTH_MB);
  });

  function noteSlow(request: FuzzRequest, ms: number): void {
    if (slowest.length >= SLOWEST_KEPT && ms <= (slowest.at(-1)?.ms ?? 0)) return;
    slowest.push({ request, ms });
    slowest.sort((one, other) => other.ms - one.ms).splice(SLOWEST_KEPT);
  }

  /** Fails with the number of problems of each kind, and small requests that show some of them. */
  async function expectNothing(found: readonly Found[]): Promise<void> {
    if (found.length === 0) return;
    const kinds = new Map<string, Found[]>();
    for (const each of found) kinds.set(each.problem, [...(kinds.get(each.problem) ?? []), each]);
    const lines = [...kinds].map(([problem, each]) => `${each.length} × ${problem}`);
    for (const each of [...kinds.values()].slice(0, MAX_SHRUNK)) lines.push(await shrink(each[0] as Found));
    lines.push(
      ...server
        .errors()
        .slice(0, 5)
        .map((line) => line.slice(0, 2_000)),
    );
    throw new Error(`Unexpected answers (FUZZ_SEED=${SEED} FUZZ_RUNS=${RUNS}):\n${lines.join('\n\n')}`);
  }

  async function shrink({ problem, request, answer, seed, number }: Found): Promise<string> {
    let smallest = { request, answer };
    await fc.check(
      fc.asyncProperty(arbitrary, async (smaller) => {
        const again = await server.send(smaller);
        if (problemOf(smaller, again) !== problem) return true;
        smallest = { request: smaller, answer: again };
        return false;
      }),
      { seed, path: String(number), numRuns: 1, interruptAfterTimeLimit: MAX_SHRINKING_MS },
    );
    const { status, body } = smallest.answer;
    return `${problem}\n${describeRequest(smallest.request)}\n  ${status} ${body.slice(0, 1_000)}`;
  }
});

/** What is wrong with an answer while all services work; undefined if nothing is. */
function problemOf(
  { method, path: where }: FuzzRequest,
  { status, type, body }: FuzzAnswer,
): string | undefined {
  if (status === 0) return `no answer: ${body}`;
  if (status >= 500) return `status ${status}`;
  if (method === 'HEAD' || status === 204 || status === 304) return undefined;
  if (!/json/.test(type))
    return where.startsWith('/graphql') && !/html/.test(type) ? `type ${type}` : undefined;
  let answer: { errors?: { extensions?: { code?: unknown } }[]; data?: unknown };
  try {
    answer = JSON.parse(body) as typeof answer;
  } catch {
    return 'a body that is no JSON';
  }
  const codes = (answer.errors ?? []).map(({ extensions }) => extensions?.code);
  for (const code of codes) {
    if (typeof code !== 'string') return 'an error without a code';
    if (/^(INTERNAL_SERVER_ERROR|UNAVAILABLE)$/.test(code)) return `code ${code}`;
  }
  if (/^\/graphql($|\?)/.test(where) && answer.data === undefined && codes.length === 0)
    return 'neither data nor errors';
  return undefined;
}

const describeRequest = ({ caller, method, path: where, headers, body }: FuzzRequest): string =>
  `  ${method} ${where.slice(0, 2_000)} by ${caller} ${JSON.stringify(headers).slice(0, 1_000)}\n  ${body?.toString('latin1').slice(0, 3_000) ?? ''}`;

/** Calls `action` with each item, some at once. */
async function forEach<Item>(
  items: readonly Item[],
  action: (item: Item, index: number) => Promise<unknown>,
): Promise<void> {
  const queue = items.entries();
  const worker = async () => {
    for (const [index, item] of queue) await action(item, index);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
