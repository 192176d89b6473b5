import type { FastifyInstance } from 'fastify';

/** What `GET /readyz` tells. */
export interface Readiness {
  readonly ready: boolean;
  readonly database: 'up' | 'down';
  readonly migrated: boolean;
  readonly cache: 'up' | 'down' | 'degraded' | 'off';
  /** What Redis refuses, if the cache is `degraded`. */
  readonly reason?: string | undefined;
  /** Age in ms of what is known of the invalidation log; null if it was never read. */
  readonly invalidationLogAgeMs: number | null;
}

/** `GET /healthz`: the process is alive. `GET /readyz`: it can answer; a cache that is away does not make it unready. */
export function registerHealth(app: FastifyInstance, readiness: () => Promise<Readiness>): void {
  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const state = await readiness();
    return await reply.code(state.ready ? 200 : 503).send(state);
  });
}
