import { isIPv6 } from 'node:net';

import { LeakyBuckets } from './leaky-buckets.js';

/**
 * Limits the requests of callers: of a user, whichever of their tokens they use, and of an address from which requests
 * come without a valid token. Whatever else a client sends does not make it another caller.
 */
export class RateLimit {
  readonly users: LeakyBuckets;
  readonly addresses: LeakyBuckets;
  /** Tokens that are not valid, by address. */
  private readonly failures: LeakyBuckets;

  constructor(readonly perSecond: number) {
    this.users = new LeakyBuckets(perSecond);
    this.addresses = new LeakyBuckets(perSecond);
    this.failures = new LeakyBuckets(perSecond);
  }

  /**
   * How long an address must wait until the next unknown token from it is verified (ms). Requests without a token do
   * not count, so that they cannot keep those from getting in who share the address.
   */
  waitToVerify(address: string): number {
    return this.failures.waitOf(networkOf(address));
  }

  /** Counts a request of a user. Returns 0 if it is allowed, and otherwise how long the user must wait (ms). */
  takeFromUser(userId: string): number {
    return this.users.take(userId);
  }

  /** The same for an address from which a request comes without a valid token, or with one that is not valid. */
  takeFromAddress(address: string, hasToken: boolean): number {
    const network = networkOf(address);
    if (hasToken) this.failures.take(network);
    return this.addresses.take(network);
  }
}

/** An IPv4 address; of an IPv6 address the first half, because a client usually has all addresses that begin with it. */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [, ipv4] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  if (ipv4 !== undefined) return ipv4;
  const [head = '', tail] = address.split('%', 1).join('').split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const last = tail === '' ? [] : tail.split(':');
    const missing = 8 - groups.length - last.length - (tail.includes('.') ? 1 : 0);
    groups.push(...Array.from({ length: Math.max(0, missing) }, () => '0'), ...last);
  }
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
