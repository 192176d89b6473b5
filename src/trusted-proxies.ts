import { isIP } from 'node:net';

/** The proxies whose `X-Forwarded-For` is believed: their addresses, or how many of them a request passes. */
export type TrustedProxies = readonly string[] | number;

/** A mistake in the trusted proxies; the message follows the name of the setting. */
export class TrustedProxiesError extends Error {
  override readonly name = 'TrustedProxiesError';
}

/** Ranges of private addresses, as Fastify names them. */
const NAMED_RANGES: ReadonlySet<string> = new Set(['loopback', 'linklocal', 'uniquelocal']);
const MAX_HOPS = 10;

/**
 * Reads addresses, ranges (`10.0.0.0/8`) and names of ranges, separated by commas or blanks; or the number of proxies.
 * @throws TrustedProxiesError for a text that trusts everybody, because then a client chooses its own address
 */
export function parseTrustedProxies(text: string): TrustedProxies {
  const names = text.split(/[\s,]+/).filter((name) => name !== '');
  const [first = ''] = names;
  if (names.length === 1 && /^\d+$/.test(first)) {
    const hops = Number(first);
    if (hops >= 1 && hops <= MAX_HOPS) return hops;
    throw new TrustedProxiesError(`must be from 1 to ${MAX_HOPS} if it is a number of proxies`);
  }
  if (names.length === 0) throw new TrustedProxiesError('names no proxy, such as 10.0.0.0/8');
  for (const name of names) checkRange(name);
  return names;
}

function checkRange(name: string): void {
  if (NAMED_RANGES.has(name)) return;
  const [, address = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(name) ?? [];
  const version = isIP(address);
  const bits = prefix === undefined ? 1 : Number(prefix);
  if (version > 0 && bits === 0) {
    throw new TrustedProxiesError(`holds ${name}, which trusts every client to name its own address`);
  }
  if (version === 0 || bits > (version === 4 ? 32 : 128)) {
    throw new TrustedProxiesError(
      `holds "${name.slice(0, 100)}", which is no address, range (10.0.0.0/8), loopback, linklocal or uniquelocal`,
    );
  }
}
