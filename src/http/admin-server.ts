import type { FastifyInstance } from 'fastify';

import { answerFailures } from './failures.js';
import { createFastify } from './fastify-server.js';
import { registerHealth } from './health.js';
import type { HttpOptions } from './http-server.js';
import { operatorAccess } from './operator-access.js';
import { registerOperatorRoutes } from './operator-routes.js';
import { refuseUnknownRequests } from './unknown-requests.js';

/** The server of ADMIN_PORT: the metrics, the operators' endpoints and the health. */
export function createAdminServer(options: HttpOptions): FastifyInstance {
  const { config, production, log, metrics, readiness, drain } = options;
  const app = createFastify({ ...options, closesAllConnections: true });
  refuseUnknownRequests(app);
  registerHealth(app, readiness, drain);
  const access = operatorAccess({ token: config.operatorToken, production });
  registerOperatorRoutes(app, { ...options, access });
  answerFailures(app, log, metrics.graphql.errorAnswered);
  return app;
}
