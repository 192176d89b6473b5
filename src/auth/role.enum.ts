import { registerEnumType } from 'type-graphql';

/** What a member may do: a VIEWER reads, an EDITOR also writes, an OWNER also deletes. */
export enum Role {
  OWNER = 'OWNER',
  EDITOR = 'EDITOR',
  VIEWER = 'VIEWER',
}

registerEnumType(Role, { name: 'Role', description: 'What a member of an organization may do.' });

const RANK: Readonly<Record<Role, number>> = { VIEWER: 1, EDITOR: 2, OWNER: 3 };

/** Whether a role allows what `needed` allows. */
export const allows = (role: Role, needed: Role): boolean => RANK[role] >= RANK[needed];

/** The roles that allow what `needed` allows. */
export const rolesThatAllow = (needed: Role): Role[] =>
  Object.values(Role).filter((role) => allows(role, needed));
