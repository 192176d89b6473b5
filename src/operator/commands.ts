import { parseArgs, type ParseArgsConfig } from 'node:util';

import { Role } from '../auth/role.enum.js';
import { signToken } from '../auth/sign-token.js';
import type { OperatorConfig } from '../config.js';
import { resetCache } from '../cache/postgres/epoch.js';
import type { Sql } from '../db/driver.js';
import {
  addMember,
  createOrganization,
  findAccount,
  OperatorError,
  removeMember,
  type NewAccount,
} from './accounts.js';

export const USAGE = `Usage: npm run admin -- COMMAND …   (in the image: node dist/admin.js COMMAND …)

  create-organization --name NAME --slug SLUG --owner EMAIL [--owner-name NAME] [--subject SUBJECT]
      makes an organization and its owner; with JWT_SECRET, prints a token for the owner, valid for an hour
  add-member --organization SLUG|ID --email EMAIL --role OWNER|EDITOR|VIEWER [--name NAME] [--subject SUBJECT]
      gives a user a role, and makes the user if there is none with the email
  remove-member --organization SLUG|ID --email EMAIL
  token --email EMAIL [--expires-in 1h]
      prints a token signed with JWT_SECRET, and nothing else
  reset-cache
      makes every server forget what was cached; needed after a database was set back beneath PostgreSQL itself

DATABASE_URL says where the database is. SUBJECT is what the identity provider calls the user (JWT_USER_CLAIM).`;

type Options = Readonly<Record<string, string | undefined>>;

interface Command {
  readonly options: readonly string[];
  /** Returns the lines to print. */
  readonly run: (sql: Sql, options: Options, auth: OperatorConfig['auth']) => Promise<string[]>;
}

const FIRST_TOKEN_LIFE = '1h';

const COMMANDS: Readonly<Record<string, Command>> = {
  'create-organization': {
    options: ['name', 'slug', 'owner', 'owner-name', 'subject'],
    async run(sql, options, auth) {
      const { organization, owner } = await createOrganization(sql, {
        name: text(options, 'name', 255),
        slug: slugOf(options),
        owner: accountOf(options, 'owner', 'owner-name'),
      });
      return [
        `Organization ${organization.id} ${organization.slug}`,
        `Owner        ${owner.id} ${owner.email}`,
        ...(auth.jwksUrl === undefined && auth.secret !== undefined
          ? [`Token        ${await tokenOf(owner.id, auth, FIRST_TOKEN_LIFE)}`]
          : []),
      ];
    },
  },
  'add-member': {
    options: ['organization', 'email', 'role', 'name', 'subject'],
    async run(sql, options) {
      const role = roleOf(options);
      const { organization, account, before } = await addMember(sql, {
        organization: text(options, 'organization', 255),
        role,
        account: accountOf(options, 'email', 'name'),
      });
      const user = `${account.email} (${account.id})`;
      if (before === role) return [`${user} is ${role} of ${organization.slug} already.`];
      const was = before === undefined ? '' : `, and was ${before}`;
      return [`${user} is ${role} of ${organization.slug} now${was}.`];
    },
  },
  'remove-member': {
    options: ['organization', 'email'],
    async run(sql, options) {
      const { organization, account } = await removeMember(sql, {
        organization: text(options, 'organization', 255),
        email: emailOf(options, 'email'),
      });
      return [`${account.email} is no longer a member of ${organization.slug}.`];
    },
  },
  token: {
    options: ['email', 'expires-in'],
    async run(sql, options, auth) {
      const life = options['expires-in'] ?? FIRST_TOKEN_LIFE;
      const { id } = await findAccount(sql, emailOf(options, 'email'));
      return [await tokenOf(id, auth, life)];
    },
  },
  'reset-cache': {
    options: [],
    async run(sql) {
      await resetCache(sql);
      return ['Servers no longer use any value that was cached before.'];
    },
  },
};

/** Finds the command for the arguments. @throws OperatorError naming the mistake in the arguments */
export function parseCommand(
  args: readonly string[],
): (sql: Sql, auth: OperatorConfig['auth']) => Promise<string[]> {
  const [name = '', ...rest] = args;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) {
    throw new OperatorError(name === '' ? USAGE : `There is no command ${name}.\n\n${USAGE}`);
  }
  const known: ParseArgsConfig['options'] = Object.fromEntries(
    command.options.map((option) => [option, { type: 'string' }] as const),
  );
  let options: Options;
  try {
    options = parseArgs({ args: rest, options: known, strict: true }).values as Options;
  } catch (error) {
    throw new OperatorError((error as Error).message, { cause: error });
  }
  return async (sql, auth) => await command.run(sql, options, auth);
}

/** A text option. @throws OperatorError if it is missing, blank or too long */
function text(options: Options, name: string, maxCharacters: number): string {
  const value = options[name]?.trim();
  if (value === undefined || value === '') throw new OperatorError(`--${name} is required.`);
  if (value.length > maxCharacters || value.includes('\0')) {
    throw new OperatorError(`--${name} must have at most ${maxCharacters} characters.`);
  }
  return value;
}

function slugOf(options: Options): string {
  const slug = text(options, 'slug', 63);
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(slug)) {
    throw new OperatorError('--slug must consist of lower-case letters, digits and single hyphens.');
  }
  return slug;
}

function emailOf(options: Options, name: string): string {
  const email = text(options, name, 254);
  if (!/^[^\s@]+@[^\s@]+$/.test(email)) throw new OperatorError(`--${name} must be an email address.`);
  return email;
}

function accountOf(options: Options, emailOption: string, nameOption: string): NewAccount {
  return {
    email: emailOf(options, emailOption),
    name: options[nameOption] === undefined ? undefined : text(options, nameOption, 255),
    subject: options.subject === undefined ? undefined : text(options, 'subject', 255),
  };
}

function roleOf(options: Options): Role {
  const given = text(options, 'role', 255).toUpperCase();
  const role = Object.values(Role).find((each) => each === given);
  if (role === undefined) throw new OperatorError(`--role must be one of ${Object.values(Role).join(', ')}.`);
  return role;
}

/** @throws OperatorError if another issuer signs the tokens, or the lifetime is invalid */
async function tokenOf(userId: string, auth: OperatorConfig['auth'], expiresIn: string): Promise<string> {
  if (auth.jwksUrl !== undefined) {
    throw new OperatorError('With JWKS_URL, tokens come from its issuer.');
  }
  if (auth.secret === undefined) throw new OperatorError('JWT_SECRET is required to sign a token.');
  if (!/^\d{1,4} ?(s|m|h|d)$/.test(expiresIn)) {
    throw new OperatorError(
      '--expires-in must be a number of seconds, minutes, hours or days, such as 90s, 30m, 1h, 7d.',
    );
  }
  const { issuer, audience, userClaim } = auth;
  return await signToken(auth.secret, userId, { issuer, audience, userClaim, expiresIn });
}
