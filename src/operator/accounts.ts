import type postgres from 'postgres';

import type { Sql } from '../db/driver.js';
import { isUniqueViolation } from '../db/failures.js';
import type { Role } from '../auth/role.enum.js';
import { isUuid } from '../uuid.js';

/** A request of the operator that cannot be fulfilled; the message is meant for the operator. */
export class OperatorError extends Error {
  override readonly name = 'OperatorError';
}

export interface Account {
  readonly id: string;
  readonly email: string;
}

export interface OrganizationRow {
  readonly id: string;
  readonly name: string;
  readonly slug: string;
}

/** The user of an account. The account is created if no user has the email. */
export interface NewAccount {
  readonly email: string;
  readonly name: string | undefined;
  /** The user's name at the identity provider. A uuid is the user's id. */
  readonly subject: string | undefined;
}

/** A connection, or a transaction on it. */
type Session = postgres.ISql;

/** Creates an organization and its owner, in one transaction. @throws OperatorError */
export async function createOrganization(
  sql: Sql,
  organization: { readonly name: string; readonly slug: string; readonly owner: NewAccount },
): Promise<{ organization: OrganizationRow; owner: Account }> {
  const { name, slug, owner } = organization;
  return await sql.begin(async (tx) => {
    const [made] = await tx<OrganizationRow[]>`
      insert into organizations (name, slug) values (${name}, ${slug})
      on conflict (slug) do nothing returning id, name, slug`;
    if (!made) throw new OperatorError(`There is an organization with the slug ${slug} already.`);
    const account = await findOrAddAccount(tx, owner);
    await tx`insert into memberships (user_id, org_id, role) values (${account.id}, ${made.id}, 'OWNER')`;
    return { organization: made, owner: account };
  });
}

/**
 * Gives an account a role in an organization, and creates the account if it does not exist.
 * @returns the account's previous role
 * @throws OperatorError
 */
export async function addMember(
  sql: Sql,
  member: { readonly organization: string; readonly role: Role; readonly account: NewAccount },
): Promise<{ organization: OrganizationRow; account: Account; before: Role | undefined }> {
  return await sql.begin(async (tx) => {
    const organization = await findOrganization(tx, member.organization);
    const account = await findOrAddAccount(tx, member.account);
    const [membership] = await tx<{ role: Role }[]>`
      select role from memberships where user_id = ${account.id} and org_id = ${organization.id} for update`;
    if (membership?.role !== member.role) {
      await tx`insert into memberships (user_id, org_id, role) values (${account.id}, ${organization.id}, ${member.role})
        on conflict (user_id, org_id) do update set role = excluded.role`;
    }
    return { organization, account, before: membership?.role };
  });
}

/** Removes an account from an organization; the account itself stays. @throws OperatorError */
export async function removeMember(
  sql: Sql,
  member: { readonly organization: string; readonly email: string },
): Promise<{ organization: OrganizationRow; account: Account }> {
  return await sql.begin(async (tx) => {
    const organization = await findOrganization(tx, member.organization);
    const account = await findAccount(tx, member.email);
    const removed = await tx`
      delete from memberships where user_id = ${account.id} and org_id = ${organization.id} returning 1`;
    if (removed.length === 0) {
      throw new OperatorError(`${account.email} is not a member of ${organization.slug}.`);
    }
    return { organization, account };
  });
}

/** The account with an email. @throws OperatorError if there is none */
export async function findAccount(sql: Session, email: string): Promise<Account> {
  const [account] = await sql<Account[]>`select id, email from users where lower(email) = lower(${email})`;
  if (!account) throw new OperatorError(`There is no user with the email ${email}.`);
  return account;
}

async function findOrganization(sql: Session, slugOrId: string): Promise<OrganizationRow> {
  const [organization] = isUuid(slugOrId)
    ? await sql<OrganizationRow[]>`select id, name, slug from organizations where id = ${slugOrId}`
    : await sql<OrganizationRow[]>`select id, name, slug from organizations where slug = ${slugOrId}`;
  if (!organization) throw new OperatorError(`There is no organization with the slug or id ${slugOrId}.`);
  return organization;
}

async function findOrAddAccount(sql: Session, { email, name, subject }: NewAccount): Promise<Account> {
  const id = subject !== undefined && isUuid(subject) ? subject.toLowerCase() : undefined;
  const subjectColumn = id === undefined ? (subject ?? null) : null;
  try {
    const [added] = await sql<Account[]>`
      insert into users (id, email, name, subject)
      values (coalesce(${id ?? null}::uuid, gen_random_uuid()), ${email}, ${name ?? ''}, ${subjectColumn})
      on conflict (lower(email)) do nothing returning id, email`;
    if (added) return added;
    const account = await findAccount(sql, email);
    if (id !== undefined && account.id !== id) {
      throw new OperatorError(
        `${email} has the id ${account.id} already; a subject that is another uuid cannot be given to that user.`,
      );
    }
    if (subjectColumn !== null)
      await sql`update users set subject = ${subjectColumn} where id = ${account.id}`;
    return account;
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    throw new OperatorError(`The subject ${subject} belongs to another user.`, { cause: error });
  }
}
