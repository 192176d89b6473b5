import { Connection, encodeRequest, targetOf } from './connection.js';
import { Latencies } from './latencies.js';
import { seededRandom } from './random.js';
import type { BurstTask, LoadResult, LoadTask } from './tasks.js';

/** Runs a {@link LoadTask}. */
export async function runLoad(task: LoadTask): Promise<LoadResult> {
  const target = targetOf(task.url);
  const requests = task.requests.map((request) => encodeRequest(target, request));
  const among = task.among?.requests.map((request) => encodeRequest(target, request)) ?? [];
  const part = task.among?.part ?? 0;
  const random = seededRandom(task.seed);
  const connections = await openAll(Array.from({ length: task.connections }, () => new Connection(target)));
  const latencies = new Latencies();
  const startedAt = performance.now();
  const endsAt = task.order === 'once' ? Infinity : startedAt + task.durationMs;
  let nextOnce = 0;
  let nextAmong = 0;

  const draw = (): Buffer | undefined => {
    if (task.order === 'once') return requests[nextOnce++];
    if (part > 0 && random() < part) return among[nextAmong++ % among.length];
    return requests[Math.floor(random() * requests.length)];
  };
  const run = async (connection: Connection): Promise<void> =>
    await new Promise<void>((resolve) => {
      const next = () => {
        const sentAt = performance.now();
        const request = sentAt < endsAt ? draw() : undefined;
        if (request === undefined) {
          resolve();
          return;
        }
        connection.send(request, (received) => {
          latencies.add(performance.now() - sentAt, received);
          if (received instanceof Error) resolve();
          else next();
        });
      };
      next();
    });
  await Promise.all(connections.map(run));
  const result = latencies.result(performance.now() - startedAt);
  for (const connection of connections) connection.close();
  return result;
}

/** Runs a {@link BurstTask}. */
export async function runBurst(task: BurstTask): Promise<LoadResult> {
  const all = task.urls.flatMap((url) => {
    const target = targetOf(url);
    const request = encodeRequest(target, task.request);
    return Array.from({ length: task.connectionsOfEach }, () => ({
      connection: new Connection(target),
      request,
    }));
  });
  await openAll(all.map(({ connection }) => connection));
  const latencies = new Latencies();
  const startedAt = performance.now();
  await Promise.all(
    all.map(
      async ({ connection, request }) =>
        await new Promise<void>((resolve) => {
          connection.send(request, (received) => {
            latencies.add(performance.now() - startedAt, received);
            resolve();
          });
        }),
    ),
  );
  const result = latencies.result(performance.now() - startedAt);
  for (const { connection } of all) connection.close();
  return result;
}

async function openAll(connections: readonly Connection[]): Promise<readonly Connection[]> {
  await Promise.all(connections.map(async (connection) => await connection.open()));
  return connections;
}
