import { LRUCache } from 'lru-cache';

import type { Consumer } from '../cache/core/work.js';
import type { Identity } from './authorization.js';
import type { Principal } from './principal.js';

const MAX_USERS = 10_000;

/**
 * Tells whose share of the server a request uses: that of its user and of the user's organization, or that of an address
 * and of all who are unknown. A user of several organizations, or one whose organization is not known yet, is a group of
 * their own: an organization that a request merely names must not pay for it.
 */
export class Consumers {
  private readonly organizations = new LRUCache<string, string>({ max: MAX_USERS });

  of(identity: Identity, request: { readonly ip: string }): Consumer {
    if ('problem' in identity) return { caller: `address ${request.ip}`, group: 'unknown callers' };
    const { userId } = identity;
    return { caller: userId, group: this.organizations.get(userId) ?? userId };
  }

  /** Remembers the organization of a user. */
  learn(principal: Principal | undefined): void {
    if (!principal) return;
    const { id, memberships } = principal;
    const [first, second] = memberships;
    if (first && !second) this.organizations.set(id, first.orgId);
    else this.organizations.delete(id);
  }
}
