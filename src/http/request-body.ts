import { isUtf8 } from 'node:buffer';
import type { FastifyInstance, FastifyRequest, preParsingHookHandler } from 'fastify';

import { ErrorCode } from '../errors.js';
import { HttpFailure } from './failures.js';

/**
 * Accepts bodies that are JSON in UTF-8, and passes them on as text: the text is part of the key of a cached
 * response. It is parsed only if there is none.
 */
export function readJsonText(app: FastifyInstance): void {
  app.removeContentTypeParser('text/plain');
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    const bytes = body as Buffer;
    // Decoding would replace invalid UTF-8, and the server would write another text than the client sent.
    if (isUtf8(bytes)) done(null, bytes.toString('utf8'));
    else done(new HttpFailure(400, ErrorCode.BAD_USER_INPUT, 'The body must be UTF-8'), undefined);
  });
}

/**
 * Refuses a body before it is read if it is not JSON, which any web page could send, or if it is compressed or not in
 * UTF-8. Bodies are small, so compression is not supported, and no limit of inflated sizes is needed.
 */
export const refuseOtherBodies: preParsingHookHandler = (request, _reply, payload, done) => {
  const problem = request.method === 'POST' ? problemOfBody(request) : undefined;
  if (problem) done(problem);
  else done(null, payload);
};

const unsupported = (message: string, headers: Record<string, string>) =>
  new HttpFailure(415, ErrorCode.BAD_USER_INPUT, message, headers);

function problemOfBody({ headers }: FastifyRequest): HttpFailure | undefined {
  const type = headers['content-type'];
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && !/^\s*(identity)?\s*$/i.test(encoding)) {
    return unsupported('The body must not be compressed: send it without the header Content-Encoding', {
      'accept-encoding': 'identity',
    });
  }
  if (type === 'application/json') return undefined;
  if (type === undefined) {
    const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
    return hasBody ? NOT_JSON() : undefined;
  }
  if (!/^\s*application\/json\s*(;|$)/i.test(type)) return NOT_JSON();
  const [, charset] = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(type) ?? [];
  if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset)) {
    return unsupported('The body must be UTF-8: send Content-Type: application/json; charset=utf-8', {
      accept: 'application/json; charset=utf-8',
    });
  }
  return undefined;
}

const NOT_JSON = () =>
  unsupported('The body must be JSON: send the header Content-Type: application/json', {
    accept: 'application/json',
  });
