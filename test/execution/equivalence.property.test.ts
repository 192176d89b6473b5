import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import * as fc from 'fast-check';
import { buildSchema } from 'graphql';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { EXAMPLES } from './examples.js';
import { casesFor, type Case } from './requests.js';
import { Sides, type Difference, type Tally } from './sides.js';

/** The number of generated requests; each is sent five times. */
const RUNS = Number(process.env.EXECUTION_RUNS ?? 20_000);
/** `EXECUTION_SEED=… EXECUTION_RUNS=…` generates the requests of an earlier run. */
const SEED = Number(process.env.EXECUTION_SEED ?? Date.now() % 1_000_000_000);
/** Mutations cost several times as much as queries, and cannot run beside each other. */
const MUTATION_SHARE = 0.1;
/** Requests in a case, on average. */
const REQUESTS_PER_CASE = 2;
const QUERIES_AT_ONCE = 12;
const CASES_AT_ONCE = 500;
/** Few enough for the lists of bots to stay short. */
const MUTATIONS_BEFORE_RESET = 40;
const MAX_SHRUNK = 4;
const MAX_SHRINKING_MS = 30_000;
/** Far more than the test takes, so that it does not fail on a busy machine. */
const TIMEOUT_MS = Math.max(30 * 60_000, RUNS * 60);

jest.setTimeout(TIMEOUT_MS);

const schema = buildSchema(readFileSync(path.join(process.cwd(), 'schema/schema.graphql'), 'utf8'));

interface Found {
  readonly difference: Difference;
  /** How to generate the case again. */
  readonly seed: number;
  readonly number: number;
}

/**
 * The server has fast paths: known documents skip Apollo Server's pipeline, and responses are cached. For every request, sent
 * any number of times, it must answer as plain Apollo Server does.
 */
describe('the server', () => {
  let sides: Sides;

  const { stackTraceLimit } = Error;

  beforeAll(async () => {
    // jest takes long to make stacks of errors, and these tests do not read them.
    Error.stackTraceLimit = 0;
    sides = await Sides.start();
  });

  afterAll(async () => {
    await sides?.close();
    Error.stackTraceLimit = stackTraceLimit;
  });

  test.each(EXAMPLES.map((example) => [example.name, example] as const))(
    'answers as Apollo Server does: %s',
    async (_name, example) => {
      const difference = await sides.differ(example.case);
      const { server, oracle } = await sides.tables();
      if (example.case.isStateful) await sides.reset();
      expect(difference && describeDifference(difference)).toBeUndefined();
      expect(server).toEqual(oracle);
    },
  );

  test('answers generated queries as Apollo Server does', async () => {
    const arbitrary = casesFor(schema, 'query');
    const found: Found[] = [];
    const all = Math.ceil((RUNS * (1 - MUTATION_SHARE)) / REQUESTS_PER_CASE);
    const tally = sides.startTally();
    for (let done = 0; done < all; done += CASES_AT_ONCE) {
      const seed = SEED + done;
      const cases = fc.sample(arbitrary, { seed, numRuns: Math.min(CASES_AT_ONCE, all - done) });
      // Documents with mutations among their operations wait for a turn of their own.
      await forEach(cases, QUERIES_AT_ONCE, async (each, number) => {
        if (each.isStateful) return;
        const difference = await sides.differ(each);
        if (difference) found.push({ difference, seed, number });
      });
      await forEach(cases, 1, async (each, number) => {
        if (!each.isStateful) return;
        const difference = await sides.differ(each);
        if (difference) found.push({ difference, seed, number });
      });
      if (cases.some(({ isStateful }) => isStateful)) await sides.reset();
    }
    report('queries', tally);
    await expectNothing(found, arbitrary);
    expect(tally.executed / tally.requests).toBeGreaterThan(0.7);
  });

  test('answers generated mutations as Apollo Server does, and makes the same changes', async () => {
    const arbitrary = casesFor(schema, 'mutation');
    const queries = casesFor(schema, 'query');
    const found: Found[] = [];
    const tables: ({ seed: number } & Awaited<ReturnType<Sides['tables']>>)[] = [];
    const all = Math.ceil((RUNS * MUTATION_SHARE) / REQUESTS_PER_CASE);
    const tally = sides.startTally();
    for (let done = 0; done < all; done += MUTATIONS_BEFORE_RESET) {
      const seed = SEED + done;
      const numRuns = Math.min(MUTATIONS_BEFORE_RESET, all - done);
      const cases = fc.sample(arbitrary, { seed, numRuns });
      const between = fc.sample(queries, { seed, numRuns });
      for (const [number, each] of cases.entries()) {
        const difference = (await sides.differ(each)) ?? (await sides.differ(between[number] as Case));
        if (!difference) continue;
        found.push({ difference, seed, number });
        await sides.reset();
      }
      tables.push({ seed, ...(await sides.tables()) });
      await sides.reset();
    }
    report('mutations', tally);
    await expectNothing(found, arbitrary);
    expect(tables.map(({ seed, server }) => ({ seed, tables: server }))).toEqual(
      tables.map(({ seed, oracle }) => ({ seed, tables: oracle })),
    );
  });

  test('answers the 100th time as it did the first time', async () => {
    const cases = fc
      .sample(casesFor(schema, 'query'), { seed: SEED, numRuns: 40 })
      .filter(({ isStateful }) => !isStateful);
    const differences: string[] = [];
    await forEach(cases, QUERIES_AT_ONCE, async (each) => {
      // Each comparison asks five times.
      for (let time = 0; time < 20; time++) {
        const difference = await sides.differ(each);
        if (difference) return void differences.push(describeDifference(difference));
      }
    });
    expect(differences).toEqual([]);
  });

  test('used its fast paths while it was compared', async () => {
    expect(await sides.counter('flovo_cache_hits_total{resource="response"}')).toBeGreaterThan(1_000);
    expect(await sides.counter('flovo_graphql_executions_total{by="plan"}')).toBeGreaterThan(1_000);
    // After an error in a plan, and for mutations.
    expect(await sides.counter('flovo_graphql_executions_total{by="graphql-js"}')).toBeGreaterThan(100);
  });

  /** Fails with the number of differences of each kind, and small requests that show some of them. */
  async function expectNothing(found: readonly Found[], arbitrary: fc.Arbitrary<Case>): Promise<void> {
    if (found.length === 0) return;
    const kinds = new Map<string, Found[]>();
    for (const each of found) {
      const { kind } = each.difference;
      kinds.set(kind, [...(kinds.get(kind) ?? []), each]);
    }
    const lines = [...kinds].map(([kind, each]) => `${each.length} × ${kind}`);
    for (const each of [...kinds.values()].slice(0, MAX_SHRUNK)) {
      lines.push(await shrink(each[0] as Found, arbitrary));
    }
    throw new Error(`Answers differ from Apollo Server's (EXECUTION_SEED=${SEED}):\n${lines.join('\n\n')}`);
  }

  async function shrink({ difference, seed, number }: Found, arbitrary: fc.Arbitrary<Case>): Promise<string> {
    let smallest = difference;
    await fc.check(
      fc.asyncProperty(arbitrary, async (each) => {
        const again = await sides.differ(each);
        if (each.isStateful) await sides.reset();
        if (again?.kind !== difference.kind) return true;
        smallest = again;
        return false;
      }),
      { seed, path: String(number), numRuns: 1, interruptAfterTimeLimit: MAX_SHRINKING_MS },
    );
    return describeDifference(smallest);
  }
});

function report(what: string, { requests, executed, masked, startedAt }: Tally): void {
  const seconds = Math.round((performance.now() - startedAt) / 1_000);
  const cpu = Math.round(process.cpuUsage().user / 1e6);
  process.stderr.write(
    `  ${what} of seed ${SEED}: ${requests} requests, ${executed} executed, ${masked} masked errors, ${seconds} s, ${cpu} s of CPU so far\n`,
  );
}

const describeDifference = ({ kind, time, ask, server, oracle }: Difference): string =>
  [
    `${kind}, the ${time}. time, ${ask.method} by ${ask.caller}, Accept: ${ask.accept ?? 'none'}`,
    `  asked:  ${ask.text}`,
    `  server: ${server.status} ${server.type} ${server.body.trimEnd()}`,
    `  Apollo: ${oracle.status} ${oracle.type} ${oracle.body.trimEnd()}`,
  ].join('\n');

/** Runs `work` on each item, with limited concurrency. */
async function forEach<Item>(
  items: readonly Item[],
  atOnce: number,
  action: (item: Item, index: number) => Promise<void>,
): Promise<void> {
  const queue = items.entries();
  const worker = async () => {
    for (const [index, item] of queue) await action(item, index);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
