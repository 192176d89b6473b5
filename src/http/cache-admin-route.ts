import type { FastifyInstance, onRequestHookHandler } from 'fastify';

import { EVERYTHING } from '../cache/core/tags.js';
import { invalidationTargetsRules } from '../invalidation/invalidation-targets.input.js';
import type { OperatorInvalidation } from '../invalidation/operator-invalidation.js';
import type { Logger } from '../logger.js';
import { parseInput } from '../validation.js';
import { parseJsonBody } from './json-body.js';
import { refuseOtherBodies } from './request-body.js';

/** Room for the largest lists that are allowed. */
const BODY_LIMIT_BYTES = 512 * 1024;

/**
 * `POST /admin/cache/invalidate`: invalidates what the body names. Once it has answered, no process serves a value that
 * was cached before.
 */
export function registerCacheAdmin(
  app: FastifyInstance,
  options: {
    readonly operatorsOnly: onRequestHookHandler;
    readonly invalidation: Pick<OperatorInvalidation, 'invalidate'>;
    readonly log: Logger;
  },
): void {
  const { invalidation, log } = options;
  app.route<{ Body: string | undefined }>({
    method: 'POST',
    url: '/admin/cache/invalidate',
    bodyLimit: BODY_LIMIT_BYTES,
    onRequest: options.operatorsOnly,
    preParsing: refuseOtherBodies,
    async handler({ body = '', id: requestId }) {
      const targets = parseInput(invalidationTargetsRules, parseJsonBody(body));
      log.info({ requestId, targets }, 'An operator invalidates cached values');
      const tags = await invalidation.invalidate(targets);
      return tags.includes(EVERYTHING) ? { everything: true } : { tags };
    },
  });
}
