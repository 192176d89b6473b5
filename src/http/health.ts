import type { FastifyInstance } from 'fastify';

import type { Drain } from './drain.js';
import { sharedResult } from './shared-result.js';

/** How often the state is looked up, in times a second; it asks PostgreSQL. */
const CHECKS_PER_SECOND = 10;

/** The body of `GET /readyz`. */
export interface Readiness {
  readonly ready: boolean;
  readonly database: 'up' | 'down';
  readonly migrated: boolean;
  readonly cache: 'up' | 'down' | 'degraded' | 'off';
  /** The command that Redis refuses, if the cache is `degraded`. */
  readonly reason?: string | undefined;
  /** The age of the last read of the invalidation log in ms; null if it was never read. */
  readonly invalidationLogAgeMs: number | null;
}

/**
 * `GET /healthz`: the process is alive. `GET /readyz`: the process can answer, and is not about to stop. The server
 * is also ready while Redis is down. `GET /readyz?exclude=database` leaves the database out: only a process that is about to
 * stop is not ready. Balancers that take a server out of use for long ask so, because a slow database slows all servers.
 */
export function registerHealth(
  app: FastifyInstance,
  readiness: () => Promise<Readiness>,
  drain: Pick<Drain, 'isDraining'>,
): void {
  const check = sharedResult(readiness, CHECKS_PER_SECOND);
  app.get('/healthz', () => ({ status: 'ok' }));
  app.get<{ Querystring: { exclude?: unknown } }>('/readyz', async (request, reply) => {
    // Answer at once: balancers must notice while requests are still served.
    if (drain.isDraining) return await reply.code(503).send({ ready: false, draining: true });
    if (request.query.exclude === 'database') return { ready: true, draining: false };
    const state = await check();
    return await reply.code(state.ready ? 200 : 503).send({ ...state, draining: false });
  });
}
