import type { z } from 'zod';

import type { RedisTarget } from './cache/redis/redis-client.js';
import { parseCorsOrigins } from './cors-origins.js';
import { parseOtlpHeaders } from './otlp-headers.js';
import { readSecretFiles } from './secret-files.js';
import { parseTrustedProxies, type TrustedProxies } from './trusted-proxies.js';
import { contradictions, MAX_TTL_SECONDS, missingRedis, SETTINGS, type SamplerName } from './settings.js';

/**
 * Requests a second of each caller in production: several times what a front end or a steady integration needs, and about
 * what two cores can answer if nothing is cached, so that no single caller can use up a server.
 */
const PRODUCTION_RATE_LIMIT = 100;

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
    /** How long a request may take to arrive; an idle connection is not a request. */
    readonly receiveTimeoutMs: number;
    /** How long the server answers requests after the signal to stop, while `/readyz` says that it is not ready. */
    readonly shutdownDelayMs: number;
    /** Requests per second and caller; 0 is no limit. */
    readonly rateLimitPerSecond: number;
    /** The maximum number of requests that are executed at a time. */
    readonly maxInFlight: number;
    /** The proxies that tell the addresses of clients; undefined: the connection does. */
    readonly trustedProxies: TrustedProxies | undefined;
    /** The port of the metrics and the operators; undefined: they are on `port`. */
    readonly adminPort: number | undefined;
    /** The maximum size of a GraphQL answer, in bytes. */
    readonly maxAnswerBytes: number;
    /** What operators send to use their endpoints; without it there are none in production. */
    readonly operatorToken: string | undefined;
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
    /** Whether values that are read often are loaded again before they expire. */
    readonly refreshAhead: boolean;
    /** Whether a server loads what was read most before it serves. */
    readonly warmOnStart: boolean;
    /** The share of hits that are compared with PostgreSQL after they were served, in percent. */
    readonly shadowPercent: number;
    readonly ttlSeconds: Ttls;
  };
  readonly auth: {
    readonly secret: string | undefined;
    /** Another secret whose tokens are valid, while the secret is being replaced. */
    readonly previousSecret: string | undefined;
    /** Whether tokens may be valid for ever. */
    readonly allowsNoExpiry: boolean;
    readonly jwksUrl: string | undefined;
    readonly issuer: string | undefined;
    readonly audience: string | undefined;
    /** The claim that names the user. */
    readonly userClaim: string;
  };
  /** How long entries of the audit log are kept, in days. */
  readonly auditDays: number;
  readonly logLevel: string;
  /** What takes at least this long (ms) is logged; 0: nothing is. */
  readonly slow: { readonly operationMs: number; readonly sqlMs: number };
  /** Undefined: no traces. */
  readonly tracing: TracingConfig | undefined;
  readonly dataDir: string;
}

/** Where traces are sent, and which requests are traced. */
export interface TracingConfig {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
  readonly sampler: SamplerName;
  /** The part of the traces that is recorded, if the sampler has a ratio. */
  readonly ratio: number;
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
  const env = parse(SETTINGS, given, contradictions);
  const production = env.NODE_ENV === 'production';
  const switched = (value: 'on' | 'off' | undefined) => (value === undefined ? !production : value === 'on');
  return {
    production,
    http: {
      port: env.PORT,
      host: env.HOST,
      corsOrigin: allowedOrigins(env.CORS_ORIGIN, production),
      keepAliveSeconds: env.KEEP_ALIVE_SECONDS,
      receiveTimeoutMs: env.RECEIVE_TIMEOUT_MS,
      shutdownDelayMs: env.SHUTDOWN_DELAY_MS,
      playground: switched(env.PLAYGROUND),
      introspection: switched(env.INTROSPECTION),
      rateLimitPerSecond: env.RATE_LIMIT_PER_SECOND ?? (production ? PRODUCTION_RATE_LIMIT : 0),
      maxInFlight: env.MAX_IN_FLIGHT,
      trustedProxies: env.TRUST_PROXY === undefined ? undefined : parseTrustedProxies(env.TRUST_PROXY),
      adminPort: env.ADMIN_PORT,
      maxAnswerBytes: env.RESPONSE_LIMIT_MB * 1_048_576,
      operatorToken: env.OPERATOR_TOKEN,
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
      refreshAhead: env.REFRESH_AHEAD === 'on',
      warmOnStart: env.WARM_ON_START === 'on',
      shadowPercent: env.SHADOW_PERCENT,
      ttlSeconds: ttlsOf(env),
    },
    auth: authOf(env),
    auditDays: env.AUDIT_DAYS,
    logLevel: env.LOG_LEVEL,
    slow: { operationMs: env.SLOW_OPERATION_MS, sqlMs: env.SLOW_SQL_MS },
    tracing: tracingOf(env),
    dataDir: env.DATA_DIR,
  };
}

type TtlSettings = Pick<z.infer<typeof SETTINGS>, `CACHE_TTL_${string}` & keyof z.infer<typeof SETTINGS>>;

const ttlsOf = (env: TtlSettings): Ttls => ({
  ...MAX_TTL_SECONDS,
  bot: env.CACHE_TTL_BOT,
  botDetails: env.CACHE_TTL_DETAILS,
  botStats: env.CACHE_TTL_STATS,
  botPage: env.CACHE_TTL_LIST,
  messagePage: env.CACHE_TTL_LIST,
  organizationBots: env.CACHE_TTL_ORG,
  organizationStats: env.CACHE_TTL_ORG_STATS,
});

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
    SETTINGS.pick({
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

/** The settings of the commands that look at the cache, which are those of the servers. */
export interface CacheToolsConfig {
  readonly databaseUrl: string;
  readonly redis: Pick<Config['redis'], 'target'>;
  readonly prefix: string;
  readonly ttlSeconds: Ttls;
}

/** Reads and checks the settings of the cache's commands. @throws ConfigError as {@link readConfig} */
export function readCacheToolsConfig(given: Record<string, string | undefined>): CacheToolsConfig {
  const env = parse(
    SETTINGS.pick({
      DATABASE_URL: true,
      DATABASE_PREPARED_STATEMENTS: true,
      REDIS_URL: true,
      REDIS_CLUSTER_NODES: true,
      REDIS_SENTINEL_USERNAME: true,
      REDIS_SENTINEL_PASSWORD: true,
      CACHE_PREFIX: true,
      CACHE_TTL_BOT: true,
      CACHE_TTL_DETAILS: true,
      CACHE_TTL_STATS: true,
      CACHE_TTL_LIST: true,
      CACHE_TTL_ORG: true,
      CACHE_TTL_ORG_STATS: true,
    }),
    given,
    missingRedis,
  );
  return {
    databaseUrl: withPreparedStatements(env.DATABASE_URL, env.DATABASE_PREPARED_STATEMENTS),
    redis: { target: redisTarget(env) },
    prefix: env.CACHE_PREFIX,
    ttlSeconds: ttlsOf(env),
  };
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
  JWT_SECRET_PREVIOUS?: string | undefined;
  JWT_WITHOUT_EXPIRY?: 'on' | 'off';
  JWKS_URL?: string | undefined;
  JWT_ISSUER?: string | undefined;
  JWT_AUDIENCE?: string | undefined;
  JWT_USER_CLAIM: string;
}): Config['auth'] => ({
  secret: env.JWT_SECRET,
  previousSecret: env.JWT_SECRET_PREVIOUS,
  allowsNoExpiry: env.JWT_WITHOUT_EXPIRY === 'on',
  jwksUrl: env.JWKS_URL,
  issuer: env.JWT_ISSUER,
  audience: env.JWT_AUDIENCE,
  userClaim: env.JWT_USER_CLAIM,
});

function tracingOf(env: z.infer<typeof SETTINGS>): TracingConfig | undefined {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_HEADERS: headers } = env;
  if (endpoint === undefined) return undefined;
  const url = new URL(endpoint);
  url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
  return {
    url: url.href,
    headers: (headers !== undefined && parseOtlpHeaders(headers)) || {},
    serviceName: env.OTEL_SERVICE_NAME,
    sampler: env.OTEL_TRACES_SAMPLER,
    ratio: env.OTEL_TRACES_SAMPLER_ARG,
  };
}

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
