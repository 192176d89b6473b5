import { setTimeout as pause } from 'node:timers/promises';

import { Connection, encodeRequest, targetOf } from './connection.js';
import { Latencies } from './latencies.js';
import type { LoadResult, PacedTask } from './tasks.js';

/** Enough connections that a slow answer does not delay the next request. */
const CONNECTIONS = 16;

/** Runs a {@link PacedTask}. */
export async function runPaced(task: PacedTask): Promise<LoadResult> {
  const target = targetOf(task.url);
  const requests = task.requests.map((request) => encodeRequest(target, request));
  const idle = Array.from({ length: CONNECTIONS }, () => new Connection(target));
  const all = [...idle];
  await Promise.all(all.map(async (connection) => await connection.open()));
  const latencies = new Latencies();
  const startedAt = performance.now();
  let sent = 0;
  while (performance.now() - startedAt < task.durationMs) {
    const due = Math.floor(((performance.now() - startedAt) * task.perSecond) / 1_000);
    while (sent < due) {
      const connection = idle.pop();
      if (connection === undefined) break;
      const sentAt = performance.now();
      connection.send(requests[sent++ % requests.length] as Buffer, (received) => {
        latencies.add(performance.now() - sentAt, received);
        idle.push(connection);
      });
    }
    await pause(1);
  }
  const result = latencies.result(performance.now() - startedAt);
  for (const connection of all) connection.close();
  return result;
}
