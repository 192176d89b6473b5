import type { StandardData } from '../data/standard.js';
import { ask, type GraphQLRequest } from '../support/client.js';
import type { Server } from '../support/server.js';
import { detailsRequest, listRequest, statsRequest, type Workload } from '../workloads/catalogue.js';
import type { Bench } from './bench.js';

const PARALLEL = 8;

/**
 * Checks that all servers do the same: they return the same data, cold and cached, and nothing to a caller of another
 * organization or without a token. Stores the answers of the ceiling.
 * @throws Error that names the first difference
 */
export async function verify(bench: Bench, workloads: readonly Workload[]): Promise<void> {
  const reference = referenceOf(bench);
  const ceiling = bench.servers.find(({ contender }) => contender.id === 'ceiling');
  const checked = bench.servers.filter((server) => server !== ceiling);
  for (const workload of workloads) {
    const samples = workload.requests.filter(
      (_, i) => i % Math.ceil(workload.requests.length / bench.options.pace.samples) === 0,
    );
    for (const request of samples) {
      const expected = comparable((await ask(reference.url, request)).data);
      if (!expected.includes('"id"') && !expected.includes('"botId"')) {
        throw new Error(`${workload.id}: the reference answers ${expected}`);
      }
      const what = `${workload.id}: ${request.body}`;
      await Promise.all(checked.map(async (server) => await compare(server, request, expected, what)));
    }
  }
  await Promise.all(checked.map(async (server) => await verifyRefusals(server, bench.data)));
  if (ceiling) await fillCeiling(bench, ceiling, reference, workloads);
  bench.say('Every server answers the same data, and refuses the same callers');
}

/** Sends each request twice, so that the second answer can be a cached one. */
async function compare(
  server: Server,
  request: GraphQLRequest,
  expected: string,
  what: string,
): Promise<void> {
  for (const attempt of ['first', 'second']) {
    const { data, code } = await ask(server.url, request);
    if (comparable(data) === expected) continue;
    throw new Error(
      `${server.contender.title}, ${what}, ${attempt} answer (${code ?? 'no error'}):\n` +
        `${comparable(data)}\ninstead of\n${expected}`,
    );
  }
}

/** A server without any cache, or else ours. */
function referenceOf({ servers }: Bench): Server {
  const found =
    servers.find(({ contender }) => !contender.usesRedis) ??
    servers.find(({ contender }) => contender.id !== 'ceiling');
  if (!found) throw new Error('The ceiling alone cannot be measured.');
  return found;
}

/** The data as text, without values that always differ, and with the fields of each object in one order. */
function comparable(data: unknown): string {
  return JSON.stringify(data, (key, value: unknown) => {
    if (key === 'computedAt') return undefined;
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}

async function verifyRefusals(server: Server, data: StandardData): Promise<void> {
  const [botId = ''] = data.botIds;
  const requests = (token: string): GraphQLRequest[] => [
    listRequest(token, data.orgId, 1),
    detailsRequest(token, botId),
    statsRequest(token, botId),
  ];
  const refused = async (request: GraphQLRequest, expected: string): Promise<void> => {
    const { data, code } = await ask(server.url, request);
    const isEmpty = data == null || Object.values(data).every((value) => value === null);
    if (isEmpty && code === expected) return;
    throw new Error(
      `${server.contender.title} answers ${code ?? JSON.stringify(data)} instead of ${expected}`,
    );
  };
  for (const request of requests(data.token)) await ask(server.url, request);
  for (const request of requests(data.foreignToken)) await refused(request, 'NOT_FOUND');
  for (const { body } of requests('')) await refused({ token: undefined, body }, 'UNAUTHENTICATED');
}

/** Stores the reference's answer to every request under the request's body. Updates get one answer of the right length. */
async function fillCeiling(
  bench: Bench,
  ceiling: Server,
  reference: Server,
  workloads: readonly Workload[],
): Promise<void> {
  const admin = bench.adminOf(ceiling);
  const update = JSON.stringify({ data: { updateBot: { id: bench.data.botIds[0], version: 100 } } });
  for (const { requests, updates } of workloads) {
    const pending = [...requests];
    const copy = async () => {
      for (let request = pending.pop(); request; request = pending.pop()) {
        await admin.set(request.body, (await ask(reference.url, request)).text);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, copy));
    await Promise.all((updates?.requests ?? []).map(async ({ body }) => await admin.set(body, update)));
  }
}
