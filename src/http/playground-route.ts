import { BlockList, isIP } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';

import type { Playground } from './playground.js';

/**
 * Whether a browser opens the page. The page keeps its query in the URL, and a browser could not send a token with
 * it.
 */
export function wantsPlayground({ method, headers }: FastifyRequest): boolean {
  return method === 'GET' && String(headers.accept).includes('text/html');
}

/** Sends the page. No page of another site may read it, whatever CORS_ORIGIN allows: it may contain a token. */
export async function sendPlayground(
  playground: Playground,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { html, gzipped, policy } = await playground.page(isOpenedHere(request));
  for (const name of Object.keys(reply.getHeaders())) {
    if (name.startsWith('access-control-')) reply.removeHeader(name);
  }
  reply.headers({
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': policy,
    'cache-control': 'no-store',
    vary: 'accept, accept-encoding, host, origin, sec-fetch-site',
  });
  if (!/\bgzip\b/.test(String(request.headers['accept-encoding']))) return await reply.send(html);
  return await reply.header('content-encoding', 'gzip').send(gzipped);
}

/**
 * Whether a person opens the page on this machine. A page elsewhere can make a name of its own lead here, but browsers
 * tell the name, and which site sends the request.
 */
function isOpenedHere({ headers, socket }: FastifyRequest): boolean {
  const { host = '', origin } = headers;
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'none' && site !== 'same-origin') return false;
  if (origin !== undefined && origin !== `http://${host}`) return false;
  const name = host.replace(/:\d+$/, '').replaceAll(/[[\]]/g, '').toLowerCase();
  const isHere = name === 'localhost' || name.endsWith('.localhost') || isLoopback(name);
  return isHere && isLoopback(socket.remoteAddress ?? '');
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** IPv4 addresses are also found in their IPv6 form. */
function isLoopback(address: string): boolean {
  const version = isIP(address);
  return version > 0 && LOOPBACK.check(address, version === 6 ? 'ipv6' : 'ipv4');
}
