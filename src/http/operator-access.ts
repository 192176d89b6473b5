import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { FastifyRequest, onRequestHookHandler } from 'fastify';

import { ErrorCode } from '../errors.js';
import { HttpFailure } from './failures.js';

/** Decides what only operators may use. */
export interface OperatorAccess {
  /** Whether there are operators: in production only if the settings have a token. */
  readonly isPossible: boolean;
  /**
   * The hook that lets only operators use a route: those who send `Authorization: Bearer <token>`. Without a token in
   * the settings there is no such route in production, and elsewhere everybody on this machine is an operator. Pages of
   * another origin are always refused.
   */
  readonly operatorsOnly: onRequestHookHandler;
  /**
   * The hook for pages without data, which ask for the token themselves: everybody may open them once there is a token.
   * Without one, it is {@link operatorsOnly}.
   */
  readonly operatorsPage: onRequestHookHandler;
  /**
   * Whether a GraphQL request asks for a report of the cache. Its `Authorization` belongs to a user, so the operator's
   * token is in `x-operator-token`. Without a token in the settings, everybody may ask, but not in production.
   * @throws HttpFailure if the sender may not ask
   */
  readonly wantsReport: (request: FastifyRequest) => boolean;
}

export function operatorAccess(settings: {
  readonly token: string | undefined;
  readonly production: boolean;
}): OperatorAccess {
  const expected = settings.token === undefined ? undefined : digestOf(settings.token);
  const operatorsOnly: onRequestHookHandler = (request, reply, done) => {
    if (expected === undefined && settings.production) return reply.callNotFound();
    done(isForeignPage(request) ? FOREIGN_PAGE() : problemOfCaller(request, expected));
  };
  return {
    isPossible: expected !== undefined || !settings.production,
    operatorsOnly,
    operatorsPage: expected === undefined ? operatorsOnly : (_request, _reply, done) => done(),
    wantsReport({ headers }) {
      if (headers['x-cache-report'] !== '1') return false;
      const given = headers['x-operator-token'];
      const mayAsk = expected === undefined ? !settings.production : isToken(given, expected);
      if (!mayAsk) throw NO_REPORT();
      return true;
    },
  };
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text, 'utf8').digest();

function problemOfCaller({ headers }: FastifyRequest, expected: Buffer | undefined): HttpFailure | undefined {
  if (expected === undefined) return isLocalName(headers.host ?? '') ? undefined : FOREIGN_HOST();
  const [, given] = /^bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
  return isToken(given, expected) ? undefined : NO_OPERATOR();
}

/** Digests have one length, and comparing them takes the same time wherever they differ. */
const isToken = (given: unknown, expected: Buffer): boolean =>
  typeof given === 'string' && timingSafeEqual(digestOf(given), expected);

/** Browsers name the origin of the page with every POST. Programs that are no browser do not. */
function isForeignPage({ headers }: FastifyRequest): boolean {
  const { origin, host } = headers;
  if (origin === undefined) return false;
  return !URL.canParse(origin) || new URL(origin).host !== host?.toLowerCase();
}

/** A page can make a host name of its own lead to this server, but neither an address nor `localhost`. */
function isLocalName(host: string): boolean {
  const name = host.replace(/:\d+$/, '').replaceAll(/[[\]]/g, '').toLowerCase();
  return name === 'localhost' || name.endsWith('.localhost') || isIP(name) > 0;
}

const NO_OPERATOR = () =>
  new HttpFailure(
    401,
    ErrorCode.UNAUTHENTICATED,
    'Operators only: send the header Authorization: Bearer <OPERATOR_TOKEN>',
    { 'www-authenticate': 'Bearer' },
  );
const NO_REPORT = () =>
  new HttpFailure(
    403,
    ErrorCode.FORBIDDEN,
    'Operators only: x-cache-report needs the header x-operator-token: <OPERATOR_TOKEN>',
  );
const FOREIGN_PAGE = () =>
  new HttpFailure(403, ErrorCode.FORBIDDEN, 'Pages of another origin may not use the endpoints of operators');
const FOREIGN_HOST = () =>
  new HttpFailure(
    403,
    ErrorCode.FORBIDDEN,
    'Without OPERATOR_TOKEN, the endpoints of operators are reached through localhost or an IP address',
  );
