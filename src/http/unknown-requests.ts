import type { FastifyInstance, FastifyRequest } from 'fastify';

import { ErrorCode } from '../errors.js';
import { HttpFailure, nothingHere } from './failures.js';

/** A path that has routes, and their methods. */
interface KnownPath {
  readonly pattern: RegExp;
  readonly methods: Set<string>;
}

/**
 * Refuses requests without a route before their bodies are read: 405 with `Allow` if the path has other methods, or else
 * 404. Call it before the routes are registered.
 */
export function refuseUnknownRequests(app: FastifyInstance): void {
  const paths = new Map<string, KnownPath>();
  app.addHook('onRoute', ({ url, method }) => {
    // The route of preflights matches every path.
    if (url === '*') return;
    const path = paths.get(url) ?? { pattern: patternOf(url), methods: new Set() };
    for (const each of [method].flat()) path.methods.add(each);
    paths.set(url, path);
  });
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.is404) done(failureOf(request, paths.values()));
    else done();
  });
}

/** A pattern of the decoded paths of a route, with or without a slash at the end. */
function patternOf(url: string): RegExp {
  const parts = url
    .split('/')
    .filter((part) => part !== '')
    .map((part) =>
      part.startsWith(':') ? '[^/]+' : part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`),
    );
  return new RegExp(`^/${parts.join('/')}/?$`);
}

function failureOf({ url, method }: FastifyRequest, paths: Iterable<KnownPath>): HttpFailure {
  const [path = ''] = url.split('?', 1);
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    return nothingHere();
  }
  for (const { pattern, methods } of paths) {
    if (pattern.test(decoded)) return notAllowed(method, [...methods].sort().join(', '));
  }
  return nothingHere();
}

const notAllowed = (method: string, allow: string) =>
  new HttpFailure(405, ErrorCode.BAD_USER_INPUT, `${method} is not allowed here: use ${allow}`, { allow });
