import { z } from 'zod';

import type { RedisTarget } from './cache/redis/redis-client.js';
import { CorsOriginError, parseCorsOrigins } from './cors-origins.js';
import { ConnectionUrlError, parseConnectionUrl } from './db/connection-url.js';
import { readSecretFiles } from './secret-files.js';

/** The TTL of each cached resource in seconds: the default, and the maximum of its setting. */
export const MAX_TTL_SECONDS = {
  bot: 300,
  botDetails: 300,
  botStats: 60,
  botPage: 180,
  organizationBots: 600,
  organizationStats: 60,
  messagePage: 180,
  organization: 300,
  principal: 300,
  subject: 300,
} as const;

const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^-?\d+$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`));

const ttl = (maxSeconds: number) => integer(1, maxSeconds).default(maxSeconds);

const oneOf = <const Values extends readonly [string, ...string[]]>(values: Values) =>
  z.enum(values, `must be one of ${values.join(', ')}`);

/** Reports the rule that a URL breaks. The message leaves out the URL, because it contains a password. */
function databaseUrl({ value, issues }: { value: string; issues: z.core.$ZodRawIssue[] }): void {
  try {
    parseConnectionUrl(value);
  } catch (error) {
    if (!(error instanceof ConnectionUrlError)) throw error;
    issues.push({ code: 'custom', message: error.message, input: undefined });
  }
}

/** Reports the origin that no browser would send. */
function corsOrigins({ value, issues }: { value: string; issues: z.core.$ZodRawIssue[] }): void {
  try {
    parseCorsOrigins(value);
  } catch (error) {
    if (!(error instanceof CorsOriginError)) throw error;
    issues.push({ code: 'custom', message: error.message, input: undefined });
  }
}

const REDIS_URL = /^(off|rediss?:\/\/[^\s/]+.*|rediss?\+sentinel:\/\/[^\s/]+\/[^\s/]+.*)$/;

/** Most mistakes in a URL are in its password. The message must not repeat the URL. */
const ENCODED = 'in a user or password, characters such as @ : / ? # % are percent-encoded';

/** Whether the URL of a service can be parsed. Some URLs list several hosts; the first stands for all. */
function isReadableUrl(text: string): boolean {
  if (text === 'off') return true;
  try {
    const [, scheme = '', user = '', hosts = '', rest = ''] =
      /^([a-z+]+:\/\/)((?:[^@/?#]*@)?)([^/?#@]*)(.*)$/i.exec(text) ?? [];
    if (hosts === '' && user !== '') return false;
    const url = new URL(`${scheme}${user}${hosts.split(',')[0]}${rest}`);
    for (const part of [url.username, url.password, url.pathname]) decodeURIComponent(part);
    // If a password contains one of these characters, the parser takes the rest of it for the host.
    return url.hash === '' && !rest.includes('@');
  } catch {
    return false;
  }
}

/** `host:port, host:port` */
const CLUSTER_NODES = /^\s*[^\s,]+:\d+\s*(,\s*[^\s,]+:\d+\s*)*$/;

const environment = z.object({
  NODE_ENV: oneOf(['development', 'test', 'production']).default('development'),
  PORT: integer(0, 65_535).default(4_000),
  HOST: z.string().default('127.0.0.1'),
  DATABASE_URL: z.string().check(databaseUrl),
  DATABASE_POOL_MAX: integer(1, 1_000).default(10),
  DATABASE_POOL_TIMEOUT_MS: integer(1, 600_000).default(5_000),
  DATABASE_STATEMENT_TIMEOUT_MS: integer(1, 600_000).default(10_000),
  DATABASE_LOCK_TIMEOUT_MS: integer(1, 600_000).default(5_000),
  DATABASE_PREPARED_STATEMENTS: oneOf(['auto', 'on', 'off']).default('auto'),
  MIGRATE_ON_START: oneOf(['on', 'off']).default('on'),
  REDIS_URL: z
    .string()
    .regex(REDIS_URL, 'must be redis://, rediss:// or redis(s)+sentinel://host:port/master, or "off"')
    .refine(isReadableUrl, `must be a URL; ${ENCODED}`)
    .optional(),
  REDIS_SENTINEL_USERNAME: z.string().optional(),
  REDIS_SENTINEL_PASSWORD: z.string().optional(),
  REDIS_CLUSTER_NODES: z.string().regex(CLUSTER_NODES, 'must be host:port, comma-separated').optional(),
  REDIS_TIMEOUT_MS: integer(1, 10_000).default(100),
  CACHE_PREFIX: z
    .string()
    .regex(/^[^{}\s*?[\]\\]*$/, 'must not hold spaces, braces or glob characters')
    .default(''),
  CACHE_TTL_BOT: ttl(MAX_TTL_SECONDS.bot),
  CACHE_TTL_DETAILS: ttl(MAX_TTL_SECONDS.botDetails),
  CACHE_TTL_STATS: ttl(MAX_TTL_SECONDS.botStats),
  CACHE_TTL_LIST: ttl(MAX_TTL_SECONDS.botPage),
  CACHE_TTL_ORG: ttl(MAX_TTL_SECONDS.organizationBots),
  CACHE_TTL_ORG_STATS: ttl(MAX_TTL_SECONDS.organizationStats),
  JWT_SECRET: z.string().optional(),
  JWKS_URL: z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' }).optional(),
  JWT_USER_CLAIM: z.string().max(255, 'must be the name of a claim').default('sub'),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.string().optional(),
  LOG_LEVEL: oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  CORS_ORIGIN: z.string().check(corsOrigins).optional(),
  KEEP_ALIVE_SECONDS: integer(1, 3_600).default(72),
  SHUTDOWN_DELAY_MS: integer(0, 600_000).default(0),
  PLAYGROUND: oneOf(['on', 'off']).optional(),
  INTROSPECTION: oneOf(['on', 'off']).optional(),
  RESPONSE_CACHE: oneOf(['on', 'off']).default('on'),
  RESPONSE_CACHE_MB: integer(1, 4_096).default(64),
  RESPONSE_LIMIT_MB: integer(1, 1_024).default(20),
  RATE_LIMIT_PER_SECOND: integer(0, 1_000_000).default(0),
  DATA_DIR: z.string().default('.data'),
});

/**
 * Mistakes that only several variables together show. They are separate from the rules of each variable, because
 * those stop at the first mistake, and all mistakes are reported together.
 */
function contradictions(env: Record<string, string | undefined>): [name: string, mistake: string][] {
  const found: [string, string][] = [];
  if (env.JWT_SECRET === undefined && env.JWKS_URL === undefined) {
    found.push(['JWT_SECRET', 'is required (or JWKS_URL)']);
  }
  if (env.REDIS_URL === undefined && env.REDIS_CLUSTER_NODES === undefined) {
    found.push(['REDIS_URL', 'is required (or REDIS_CLUSTER_NODES; "off" runs from the database alone)']);
  }
  if (env.NODE_ENV === 'production') {
    if (env.JWT_SECRET !== undefined && env.JWT_SECRET.length < 32) {
      found.push(['JWT_SECRET', 'must have at least 32 characters in production']);
    }
    if (env.JWKS_URL !== undefined) {
      if (!env.JWKS_URL.startsWith('https:')) found.push(['JWKS_URL', 'must be https in production']);
      if (env.JWT_ISSUER === undefined) found.push(['JWT_ISSUER', 'is required with JWKS_URL in production']);
      if (env.JWT_AUDIENCE === undefined)
        found.push(['JWT_AUDIENCE', 'is required with JWKS_URL in production']);
    }
  }
  return found;
}

/** The TTL of each cached resource in seconds, before jitter. */
export type Ttls = { readonly [Name in keyof typeof MAX_TTL_SECONDS]: number };

export interface Config {
  readonly production: boolean;
  readonly http: {
    readonly port: number;
    readonly host: string;
    readonly corsOrigin: readonly string[] | '*' | undefined;
    readonly playground: boolean;
    readonly introspection: boolean;
    /** How long a connection may be idle between two requests. */
    readonly keepAliveSeconds: number;
    /** How long the server answers requests after the signal to stop, while `/readyz` says that it is not ready. */
    readonly shutdownDelayMs: number;
    /** Requests per second and caller; 0 is no limit. */
    readonly rateLimitPerSecond: number;
    /** The maximum size of a GraphQL answer, in bytes. */
    readonly maxAnswerBytes: number;
  };
  readonly database: {
    readonly url: string;
    readonly poolMax: number;
    readonly poolTimeoutMs: number;
    readonly statementTimeoutMs: number;
    readonly lockTimeoutMs: number;
    /** Whether the server migrates the database itself; if not, it refuses to start on one that is not migrated. */
    readonly migrateOnStart: boolean;
  };
  readonly redis: { readonly target: RedisTarget | undefined; readonly timeoutMs: number };
  readonly cache: {
    readonly prefix: string;
    /** The maximum size of the response cache, in bytes; 0 switches it off. */
    readonly responseCacheBytes: number;
    readonly ttlSeconds: Ttls;
  };
  readonly auth: {
    readonly secret: string | undefined;
    readonly jwksUrl: string | undefined;
    readonly issuer: string | undefined;
    readonly audience: string | undefined;
    /** The claim that names the user. */
    readonly userClaim: string;
  };
  readonly logLevel: string;
  readonly dataDir: string;
}

/** Names every mistake in the environment, one a line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * The environment of this process, without empty variables, and with the secrets that are in files. Only this
 * function reads `process.env`.
 */
export function processEnvironment(): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) if (value) environment[name] = value;
  // A variable whose file could not be read stays, so that it is reported with the other mistakes.
  return readSecretFiles(environment).variables;
}

/**
 * Reads and checks all settings at once.
 * @throws ConfigError naming every variable that is missing or wrong.
 */
export function readConfig(given: Record<string, string | undefined>): Config {
  const env = parse(environment, given, contradictions);
  const production = env.NODE_ENV === 'production';
  const switched = (value: 'on' | 'off' | undefined) => (value === undefined ? !production : value === 'on');
  return {
    production,
    http: {
      port: env.PORT,
      host: env.HOST,
      corsOrigin: allowedOrigins(env.CORS_ORIGIN, production),
      keepAliveSeconds: env.KEEP_ALIVE_SECONDS,
      shutdownDelayMs: env.SHUTDOWN_DELAY_MS,
      playground: switched(env.PLAYGROUND),
      introspection: switched(env.INTROSPECTION),
      rateLimitPerSecond: env.RATE_LIMIT_PER_SECOND,
      maxAnswerBytes: env.RESPONSE_LIMIT_MB * 1_048_576,
    },
    database: {
      url: withPreparedStatements(env.DATABASE_URL, env.DATABASE_PREPARED_STATEMENTS),
      poolMax: env.DATABASE_POOL_MAX,
      poolTimeoutMs: env.DATABASE_POOL_TIMEOUT_MS,
      statementTimeoutMs: env.DATABASE_STATEMENT_TIMEOUT_MS,
      lockTimeoutMs: env.DATABASE_LOCK_TIMEOUT_MS,
      migrateOnStart: env.MIGRATE_ON_START === 'on',
    },
    redis: { target: redisTarget(env), timeoutMs: env.REDIS_TIMEOUT_MS },
    cache: {
      prefix: env.CACHE_PREFIX,
      responseCacheBytes: env.RESPONSE_CACHE === 'on' ? env.RESPONSE_CACHE_MB * 1_048_576 : 0,
      ttlSeconds: {
        ...MAX_TTL_SECONDS,
        bot: env.CACHE_TTL_BOT,
        botDetails: env.CACHE_TTL_DETAILS,
        botStats: env.CACHE_TTL_STATS,
        botPage: env.CACHE_TTL_LIST,
        messagePage: env.CACHE_TTL_LIST,
        organizationBots: env.CACHE_TTL_ORG,
        organizationStats: env.CACHE_TTL_ORG_STATS,
      },
    },
    auth: authOf(env),
    logLevel: env.LOG_LEVEL,
    dataDir: env.DATA_DIR,
  };
}

/** Puts the setting into the URL as a parameter, so that the URL is all that is needed to open a connection. */
function withPreparedStatements(url: string, setting: 'auto' | 'on' | 'off'): string {
  return setting === 'auto' ? url : `${url}${url.includes('?') ? '&' : '?'}prepare=${setting}`;
}

/** The settings of an operator's commands: the database, and the keys that sign tokens. */
export interface OperatorConfig {
  readonly databaseUrl: string;
  readonly auth: Config['auth'];
}

/** Reads and checks the settings of an operator's commands. @throws ConfigError as {@link readConfig} */
export function readOperatorConfig(given: Record<string, string | undefined>): OperatorConfig {
  const env = parse(
    environment.pick({
      DATABASE_URL: true,
      JWT_SECRET: true,
      JWKS_URL: true,
      JWT_ISSUER: true,
      JWT_AUDIENCE: true,
      JWT_USER_CLAIM: true,
    }),
    given,
    () => [],
  );
  return { databaseUrl: env.DATABASE_URL, auth: authOf(env) };
}

/**
 * Checks variables by rules.
 * @param together finds the mistakes that only several variables together show
 * @throws ConfigError naming all mistakes
 */
function parse<Rules extends z.ZodType>(
  rules: Rules,
  given: Record<string, string | undefined>,
  together: (variables: Record<string, string | undefined>) => [name: string, mistake: string][],
): z.infer<Rules> {
  const { variables, mistakes } = readSecretFiles(given);
  const parsed = rules.safeParse(variables);
  const each = (parsed.error?.issues ?? []).map((issue): [string, string] => {
    const name = String(issue.path[0]);
    return [name, variables[name] === undefined ? 'is required' : issue.message];
  });
  // A secret whose file cannot be read is not reported as missing, too.
  const unreadable = new Set(mistakes.map(([name]) => name.slice(0, -'_FILE'.length)));
  const found = [...each, ...together(variables)].filter(([name]) => !unreadable.has(name));
  if (!parsed.success || found.length + mistakes.length > 0) {
    const lines = [...found, ...mistakes].map(([name, mistake]) => `  ${name} ${mistake}`);
    throw new ConfigError(`The configuration is not usable:\n${lines.join('\n')}`);
  }
  return parsed.data;
}

const authOf = (env: {
  JWT_SECRET?: string | undefined;
  JWKS_URL?: string | undefined;
  JWT_ISSUER?: string | undefined;
  JWT_AUDIENCE?: string | undefined;
  JWT_USER_CLAIM: string;
}): Config['auth'] => ({
  secret: env.JWT_SECRET,
  jwksUrl: env.JWKS_URL,
  issuer: env.JWT_ISSUER,
  audience: env.JWT_AUDIENCE,
  userClaim: env.JWT_USER_CLAIM,
});

function allowedOrigins(value: string | undefined, production: boolean): Config['http']['corsOrigin'] {
  if (value === undefined) return production ? undefined : '*';
  return parseCorsOrigins(value);
}

function redisTarget(env: {
  REDIS_URL?: string | undefined;
  REDIS_CLUSTER_NODES?: string | undefined;
  REDIS_SENTINEL_USERNAME?: string | undefined;
  REDIS_SENTINEL_PASSWORD?: string | undefined;
}): RedisTarget | undefined {
  const { REDIS_URL: url, REDIS_CLUSTER_NODES: clusterNodes } = env;
  if (clusterNodes !== undefined) {
    const nodes = clusterNodes.split(',').map((node) => node.trim());
    return { kind: 'cluster', nodes, url: url === 'off' ? undefined : url };
  }
  if (url === undefined || url === 'off') return undefined;
  if (!/^rediss?\+sentinel:/.test(url)) return { kind: 'standalone', url };
  const login = { username: env.REDIS_SENTINEL_USERNAME, password: env.REDIS_SENTINEL_PASSWORD };
  return { kind: 'sentinel', url, login };
}
