import type DataLoader from 'dataloader';

import { forbidden, notFound, unauthenticated } from '../errors.js';
import { allows, rolesThatAllow, type Role } from './role.enum.js';
import type { Principal } from './principal.js';

/** The outcome of checking a request's token: the user it names, or why there is none. */
export type Identity = { readonly userId: string } | { readonly problem: string };

/** A user, and the roles that allow a change: the user needs one of them in the organization. */
export interface Writer {
  readonly userId: string;
  readonly roles: readonly Role[];
}

/**
 * Decides what the caller of one request may see and do, from the caller's memberships on every request. It does not
 * matter whether the data came from a cache.
 */
export class Authorization {
  private known: Principal | undefined;

  constructor(
    private readonly identity: Identity,
    private readonly principals: DataLoader<string, Principal | null>,
  ) {}

  /** Whether the request has a valid token. The user that it names may not exist. */
  get isAuthenticated(): boolean {
    return 'userId' in this.identity;
  }

  /** @throws ApiError UNAUTHENTICATED if there is no valid token. It reads nothing. */
  requireToken(): string {
    if ('problem' in this.identity) throw unauthenticated(this.identity.problem);
    return this.identity.userId;
  }

  /** The caller. @throws ApiError UNAUTHENTICATED */
  async principal(): Promise<Principal> {
    const principal = await this.principals.load(this.requireToken());
    if (!principal) throw unauthenticated('the user of the token does not exist');
    return (this.known = principal);
  }

  /** The caller, if they were read. */
  get knownPrincipal(): Principal | undefined {
    return this.known;
  }

  /** The caller's role in an organization; undefined if they do not belong to it. */
  async roleIn(orgId: string): Promise<Role | undefined> {
    const { memberships } = await this.principal();
    return memberships.find((membership) => membership.orgId === orgId)?.role;
  }

  /** The caller, for a statement that checks their role itself. @throws ApiError UNAUTHENTICATED */
  writer(needed: Role): Writer {
    return { userId: this.requireToken(), roles: rolesThatAllow(needed) };
  }

  /**
   * Requires that the caller is a member whose role allows what is needed.
   * @param what the thing that is reported as missing to callers who are not members
   * @throws ApiError UNAUTHENTICATED, NOT_FOUND or FORBIDDEN
   */
  async require(needed: Role, orgId: string | undefined, what: string): Promise<void> {
    requireRole(await this.principal(), needed, orgId, what);
  }
}

/**
 * As {@link Authorization.require}, for a caller read elsewhere. @throws ApiError UNAUTHENTICATED, NOT_FOUND or
 * FORBIDDEN
 */
export function requireRole(
  caller: Principal | null | undefined,
  needed: Role,
  orgId: string | undefined,
  what: string,
): void {
  if (!caller) throw unauthenticated('the user of the token does not exist');
  const role = caller.memberships.find((membership) => membership.orgId === orgId)?.role;
  if (role === undefined) throw notFound(what);
  if (!allows(role, needed)) throw forbidden(`This needs the role ${needed}; yours is ${role}`);
}
