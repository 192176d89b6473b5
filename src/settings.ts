import { z } from 'zod';

import { CorsOriginError, parseCorsOrigins } from './cors-origins.js';
import { ConnectionUrlError, parseConnectionUrl } from './db/connection-url.js';
import { parseOtlpHeaders } from './otlp-headers.js';
import { parseTrustedProxies, TrustedProxiesError } from './trusted-proxies.js';

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

/** Reports the proxy that cannot be trusted. */
function trustedProxies({ value, issues }: { value: string; issues: z.core.$ZodRawIssue[] }): void {
  try {
    parseTrustedProxies(value);
  } catch (error) {
    if (!(error instanceof TrustedProxiesError)) throw error;
    issues.push({ code: 'custom', message: error.message, input: undefined });
  }
}

/** The samplers that the OpenTelemetry specification names. */
const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

export type SamplerName = (typeof SAMPLERS)[number];

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

/** The rule of each variable by itself. */
export const SETTINGS = z.object({
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
  JWT_SECRET_PREVIOUS: z.string().optional(),
  JWT_WITHOUT_EXPIRY: oneOf(['on', 'off']).default('off'),
  JWKS_URL: z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' }).optional(),
  OPERATOR_TOKEN: z
    .string()
    .regex(/^[!-~]+$/, 'must consist of ASCII letters, digits and signs, because it is sent in a header')
    .optional(),
  JWT_USER_CLAIM: z.string().max(255, 'must be the name of a claim').default('sub'),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.string().optional(),
  LOG_LEVEL: oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  SLOW_OPERATION_MS: integer(0, 600_000).default(1_000),
  SLOW_SQL_MS: integer(0, 600_000).default(500),
  OTEL_EXPORTER_OTLP_ENDPOINT: z
    .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
    .optional(),
  OTEL_EXPORTER_OTLP_HEADERS: z
    .string()
    .refine(
      (text) => parseOtlpHeaders(text) !== undefined,
      'must be name=value, comma-separated, with percent-encoded values',
    )
    .optional(),
  OTEL_SERVICE_NAME: z.string().default('flovo-bots'),
  OTEL_TRACES_SAMPLER: oneOf(SAMPLERS).default('parentbased_always_on'),
  OTEL_TRACES_SAMPLER_ARG: z
    .string()
    .regex(/^(0|1|0?\.\d+|1\.0+)$/, 'must be a number from 0 to 1')
    .transform(Number)
    .default(1),
  CORS_ORIGIN: z.string().check(corsOrigins).optional(),
  KEEP_ALIVE_SECONDS: integer(1, 3_600).default(72),
  RECEIVE_TIMEOUT_MS: integer(100, 600_000).default(30_000),
  SHUTDOWN_DELAY_MS: integer(0, 600_000).default(0),
  PLAYGROUND: oneOf(['on', 'off']).optional(),
  INTROSPECTION: oneOf(['on', 'off']).optional(),
  RESPONSE_CACHE: oneOf(['on', 'off']).default('on'),
  RESPONSE_CACHE_MB: integer(1, 4_096).default(64),
  RESPONSE_LIMIT_MB: integer(1, 1_024).default(20),
  REFRESH_AHEAD: oneOf(['on', 'off']).default('on'),
  WARM_ON_START: oneOf(['on', 'off']).default('on'),
  SHADOW_PERCENT: z
    .string()
    .regex(/^\d+(\.\d+)?$/, 'must be a percentage, such as 0.5')
    .transform(Number)
    .pipe(z.number().max(100, 'must be at most 100'))
    .default(0),
  MAX_IN_FLIGHT: integer(1, 100_000).default(64),
  RATE_LIMIT_PER_SECOND: integer(0, 1_000_000).optional(),
  TRUST_PROXY: z.string().check(trustedProxies).optional(),
  ADMIN_PORT: integer(0, 65_535).optional(),
  AUDIT_DAYS: integer(1, 3_650).default(90),
  DATA_DIR: z.string().default('.data'),
});

/** The mistake of naming no Redis. */
export const missingRedis = (env: Record<string, string | undefined>): [name: string, mistake: string][] =>
  env.REDIS_URL === undefined && env.REDIS_CLUSTER_NODES === undefined
    ? [['REDIS_URL', 'is required (or REDIS_CLUSTER_NODES; "off" runs from the database alone)']]
    : [];

/**
 * Mistakes that only several variables together show. They are separate from the rules of each variable, because
 * those stop at the first mistake, and all mistakes are reported together.
 */
export function contradictions(env: Record<string, string | undefined>): [name: string, mistake: string][] {
  const found: [string, string][] = [];
  if (env.JWT_SECRET === undefined && env.JWKS_URL === undefined) {
    found.push(['JWT_SECRET', 'is required (or JWKS_URL)']);
  }
  found.push(...missingRedis(env));
  if (env.ADMIN_PORT !== undefined && env.ADMIN_PORT !== '0' && env.ADMIN_PORT === (env.PORT ?? '4000'))
    found.push(['ADMIN_PORT', 'must differ from PORT']);
  if (env.NODE_ENV === 'production') {
    for (const name of ['JWT_SECRET', 'JWT_SECRET_PREVIOUS', 'OPERATOR_TOKEN']) {
      const { length = 32 } = env[name] ?? {};
      if (length < 32) found.push([name, 'must have at least 32 characters in production']);
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
