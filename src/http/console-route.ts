import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';
import { z } from 'zod';

import { rethrowUnlessUnavailable } from '../cache/core/errors.js';
import type { InspectedEntity } from '../cache/inspection/inspection.js';
import type { ConsoleState } from '../console/console-state.js';
import type { LoggedInvalidation } from '../invalidation/invalidation-log.repository.js';
import { unavailable } from '../errors.js';
import { isUuid } from '../uuid.js';
import { parseInput } from '../validation.js';
import { consoleAssets } from './console-assets.js';
import type { OperatorAccess } from './operator-access.js';

/** The page uses nothing but its own files, and no other page may show it in a frame. */
const PAGE_POLICY =
  "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

const PAGE = 'index.html';

const entityRules = z.object({
  kind: z.enum(['bot', 'organization'], 'must be bot or organization'),
  id: z.string('must be a uuid').refine(isUuid, 'must be a uuid').toLowerCase(),
});

/** What is cached of an entity, and what invalidated it last. */
export interface ConsoleEntity extends InspectedEntity {
  readonly invalidations: readonly LoggedInvalidation[];
}

/** What the console shows. */
export interface Console {
  state(): Promise<ConsoleState>;
  /** @throws CacheUnavailableError */
  inspect(kind: 'bot' | 'organization', id: string): Promise<ConsoleEntity>;
}

/**
 * The operators' page `GET /console`, its files, and its data: `GET /console/state` and `GET /console/entity`. The files
 * hold no data, so that a browser, which cannot send the token with a link, can open the page.
 */
export function registerConsole(
  app: FastifyInstance,
  options: {
    readonly access: Pick<OperatorAccess, 'operatorsOnly' | 'operatorsPage'>;
    readonly console: Console;
  },
): void {
  const { access, console } = options;
  const assets = consoleAssets();
  const send = async (name: string, request: FastifyRequest, reply: FastifyReply) => {
    const asset = (await assets()).get(name);
    if (!asset) return reply.callNotFound();
    // The files of a release belong together, so browsers ask whether they have changed.
    reply.headers({
      'content-security-policy': PAGE_POLICY,
      'cache-control': 'no-cache',
      etag: asset.etag,
    });
    if (request.headers['if-none-match'] === asset.etag) return await reply.code(304).send();
    return await reply.type(asset.type).send(asset.body);
  };
  app.get(
    '/console',
    { onRequest: access.operatorsPage },
    async (request, reply) => await send(PAGE, request, reply),
  );
  app.get<{ Params: { asset: string } }>(
    '/console/:asset',
    { onRequest: access.operatorsPage },
    async (request, reply) => await send(request.params.asset, request, reply),
  );
  const data = { onRequest: [neverStored, access.operatorsOnly] };
  app.get('/console/state', data, async () => await console.state());
  app.get('/console/entity', data, async ({ query }) => {
    const { kind, id } = parseInput(entityRules, query);
    try {
      return await console.inspect(kind, id);
    } catch (error) {
      rethrowUnlessUnavailable(error);
      throw unavailable('Redis cannot be read now');
    }
  });
}

const neverStored: onRequestHookHandler = (_request, reply, done) => {
  reply.header('cache-control', 'no-store');
  done();
};
