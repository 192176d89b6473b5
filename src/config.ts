import { z } from 'zod';

import type { RedisTarget } from './cache/redis-client.js';

/** TTLs of the contract, in seconds: the defaults, and the longest allowed. */
const LONGEST_TTL = { bot: 300, details: 300, stats: 60, list: 180, org: 600 } as const;

const integer = (least: number, most: number) =>
  z
    .string()
    .regex(/^-?\d+$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(least, `must be at least ${least}`).max(most, `must be at most ${most}`));

const ttl = (longest: number) => integer(1, longest).default(longest);

const oneOf = <const Values extends readonly [string, ...string[]]>(values: Values) =>
  z.enum(values, `must be one of ${values.join(', ')}`);

const REDIS_URL = /^(off|rediss?:\/\/[^\s/]+.*|rediss?\+sentinel:\/\/[^\s/]+\/[^\s/]+.*)$/;

/** `host:port, host:port` */
const CLUSTER_NODES = /^\s*[^\s,]+:\d+\s*(,\s*[^\s,]+:\d+\s*)*$/;

const environment = z.object({
  NODE_ENV: oneOf(['development', 'test', 'production']).default('development'),
  PORT: integer(0, 65_535).default(4_000),
  HOST: z.string().default('127.0.0.1'),
  DATABASE_URL: z.string().regex(/^postgres(ql)?:\/\//, 'must be a postgres:// URL'),
  DATABASE_POOL_MAX: integer(1, 1_000).default(10),
  REDIS_URL: z
    .string()
    .regex(REDIS_URL, 'must be redis://, rediss:// or redis(s)+sentinel://host:port/master, or "off"')
    .optional(),
  REDIS_SENTINEL_USERNAME: z.string().optional(),
  REDIS_SENTINEL_PASSWORD: z.string().optional(),
  REDIS_CLUSTER_NODES: z.string().regex(CLUSTER_NODES, 'must be host:port, comma-separated').optional(),
  REDIS_TIMEOUT_MS: integer(1, 10_000).default(100),
  CACHE_PREFIX: z
    .string()
    .regex(/^[^{}\s*?[\]\\]*$/, 'must not hold spaces, braces or glob characters')
    .default(''),
  CACHE_TTL_BOT: ttl(LONGEST_TTL.bot),
  CACHE_TTL_DETAILS: ttl(LONGEST_TTL.details),
  CACHE_TTL_STATS: ttl(LONGEST_TTL.stats),
  CACHE_TTL_LIST: ttl(LONGEST_TTL.list),
  CACHE_TTL_ORG: ttl(LONGEST_TTL.org),
  JWT_SECRET: z.string().optional(),
  JWKS_URL: z.url('must be a URL').optional(),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.string().optional(),
  LOG_LEVEL: oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  CORS_ORIGIN: z.string().optional(),
  PLAYGROUND: oneOf(['on', 'off']).optional(),
  INTROSPECTION: oneOf(['on', 'off']).optional(),
  RESPONSE_CACHE: oneOf(['on', 'off']).default('on'),
  RESPONSE_CACHE_MB: integer(1, 4_096).default(64),
  RATE_LIMIT_PER_SECOND: integer(0, 1_000_000).default(0),
  DATA_DIR: z.string().default('.data'),
});

/**
 * What is missing or wrong only together with other variables. Apart from the rules of each variable, because those end
 * at the first that fails, and all mistakes are reported together.
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

export interface Config {
  readonly production: boolean;
  readonly http: {
    readonly port: number;
    readonly host: string;
    readonly corsOrigin: readonly string[] | '*' | undefined;
    readonly playground: boolean;
    readonly introspection: boolean;
    /** Requests per second and caller; 0 is no limit. */
    readonly rateLimitPerSecond: number;
  };
  readonly database: { readonly url: string; readonly poolMax: number };
  readonly redis: { readonly target: RedisTarget | undefined; readonly timeoutMs: number };
  readonly cache: {
    readonly prefix: string;
    /** Bytes of whole answers to keep in memory; 0 is none. */
    readonly answerCacheBytes: number;
    readonly ttlSeconds: { readonly [Name in keyof typeof LONGEST_TTL]: number };
  };
  readonly auth: {
    readonly secret: string | undefined;
    readonly jwksUrl: string | undefined;
    readonly issuer: string | undefined;
    readonly audience: string | undefined;
  };
  readonly logLevel: string;
  readonly dataDir: string;
}

/** Names every mistake in the environment, one a line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** The environment of this process, with empty variables counted as absent. The only reader of `process.env`. */
export function processEnvironment(): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) if (value) environment[name] = value;
  return environment;
}

/**
 * Reads and checks all settings at once.
 * @throws ConfigError naming every variable that is missing or wrong.
 */
export function readConfig(variables: Record<string, string | undefined>): Config {
  const parsed = environment.safeParse(variables);
  const together = contradictions(variables);
  if (!parsed.success || together.length > 0) {
    const each = (parsed.error?.issues ?? []).map((issue): [string, string] => {
      const name = String(issue.path[0]);
      return [name, variables[name] === undefined ? 'is required' : issue.message];
    });
    const lines = [...each, ...together].map(([name, mistake]) => `  ${name} ${mistake}`);
    throw new ConfigError(`The configuration is not usable:\n${lines.join('\n')}`);
  }
  const env = parsed.data;
  const production = env.NODE_ENV === 'production';
  const switched = (value: 'on' | 'off' | undefined) => (value === undefined ? !production : value === 'on');
  return {
    production,
    http: {
      port: env.PORT,
      host: env.HOST,
      corsOrigin: corsOrigins(env.CORS_ORIGIN ?? (production ? undefined : '*')),
      playground: switched(env.PLAYGROUND),
      introspection: switched(env.INTROSPECTION),
      rateLimitPerSecond: env.RATE_LIMIT_PER_SECOND,
    },
    database: { url: env.DATABASE_URL, poolMax: env.DATABASE_POOL_MAX },
    redis: { target: redisTarget(env), timeoutMs: env.REDIS_TIMEOUT_MS },
    cache: {
      prefix: env.CACHE_PREFIX,
      answerCacheBytes: env.RESPONSE_CACHE === 'on' ? env.RESPONSE_CACHE_MB * 1_048_576 : 0,
      ttlSeconds: {
        bot: env.CACHE_TTL_BOT,
        details: env.CACHE_TTL_DETAILS,
        stats: env.CACHE_TTL_STATS,
        list: env.CACHE_TTL_LIST,
        org: env.CACHE_TTL_ORG,
      },
    },
    auth: {
      secret: env.JWT_SECRET,
      jwksUrl: env.JWKS_URL,
      issuer: env.JWT_ISSUER,
      audience: env.JWT_AUDIENCE,
    },
    logLevel: env.LOG_LEVEL,
    dataDir: env.DATA_DIR,
  };
}

function corsOrigins(value: string | undefined): readonly string[] | '*' | undefined {
  if (value === undefined || value === '*') return value;
  return value.split(',').map((origin) => origin.trim());
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
