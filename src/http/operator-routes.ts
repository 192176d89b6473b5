import type { FastifyInstance } from 'fastify';

import type { OperatorInvalidation } from '../invalidation/operator-invalidation.js';
import type { Logger } from '../logger.js';
import type { Metrics } from '../metrics/metrics.js';
import { registerCacheAdmin } from './cache-admin-route.js';
import { registerConsole, type Console } from './console-route.js';
import type { OperatorAccess } from './operator-access.js';
import { sharedResult } from './shared-result.js';

/** How often the metrics are written anew, in times a second: each time takes 4 ms or more. */
const METRICS_PER_SECOND = 20;

export interface OperatorRoutes {
  readonly access: OperatorAccess;
  readonly metrics: Pick<Metrics, 'registry'>;
  readonly operatorInvalidation: OperatorInvalidation;
  /** Undefined: there is no console. */
  readonly console: Console | undefined;
  readonly log: Logger;
}

/** The routes of operators and monitoring. Those that need a token are missing in production without one. */
export function registerOperatorRoutes(app: FastifyInstance, options: OperatorRoutes): void {
  const { access, log } = options;
  const { registry } = options.metrics;
  const metrics = sharedResult(async () => await registry.metrics(), METRICS_PER_SECOND);
  app.get('/metrics', async (_request, reply) => {
    reply.type(registry.contentType);
    return await metrics();
  });
  if (!access.isPossible) return;
  registerCacheAdmin(app, {
    operatorsOnly: access.operatorsOnly,
    invalidation: options.operatorInvalidation,
    log,
  });
  if (options.console) registerConsole(app, { access, console: options.console });
}
