import type { FastifyRequest } from 'fastify';

import type { Config } from '../config.js';
import { ErrorCode } from '../errors.js';
import { HttpFailure } from './failures.js';

/**
 * Refuses a query by GET that a page of another site sends without having been allowed to: by a link, an image, a form or
 * `fetch` without a preflight. Such a page cannot read the answer, and cannot send a token. So this costs no client
 * anything, and keeps other sites from using the network place of a browser. GET makes no changes, and POST needs a body
 * of a type for which browsers ask first.
 * @throws HttpFailure
 */
export function refuseForeignPage(
  { method, headers }: Pick<FastifyRequest, 'method' | 'headers'>,
  allowed: Config['http']['corsOrigin'],
): void {
  if (method !== 'GET' || headers.authorization !== undefined) return;
  const { origin, host } = headers;
  const site = headers['sec-fetch-site'];
  if (origin === undefined) {
    // Programs that are no browser send neither header, and an address that a person enters is `none`.
    if (site === 'cross-site' || site === 'same-site') throw FOREIGN_PAGE();
    return;
  }
  if (site === 'same-origin' || allowed === '*' || allowed?.includes(origin)) return;
  if (!URL.canParse(origin) || new URL(origin).host !== host?.toLowerCase()) throw FOREIGN_PAGE();
}

const FOREIGN_PAGE = () =>
  new HttpFailure(
    403,
    ErrorCode.FORBIDDEN,
    'A page of another site may not send this request: use POST with Content-Type: application/json',
  );
