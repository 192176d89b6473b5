import type { Role } from './role.enum.js';

/** A user with the memberships that decide what they may see and do. */
export interface Principal {
  readonly id: string;
  readonly email: string;
  readonly name: string;
  readonly memberships: readonly { readonly orgId: string; readonly role: Role }[];
}
