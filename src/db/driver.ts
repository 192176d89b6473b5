import postgres from 'postgres';

import { parseConnectionUrl } from './connection-url.js';
import { endpointKind } from './endpoint-kind.js';

export type Sql = postgres.Sql;

export type DriverOptions = Pick<
  postgres.Options<Record<string, never>>,
  'max' | 'connect_timeout' | 'idle_timeout' | 'max_lifetime' | 'onclose'
> & {
  readonly connection?: Readonly<Record<string, string>>;
  /** Settings of each session, where sessions are the connection's own: not behind a pooler. */
  readonly sessionSettings?: Readonly<Record<string, string>>;
};

const DEFAULT_CONNECT_TIMEOUT_S = 5;

/** Types of the statements' array parameters, by their oids in `pg_type`. */
const ARRAY_TYPES = { int4: 1007, text: 1009, int8: 1016, uuid: 2951 };
/** `timestamptz`, `date`, `timestamp`: read as PostgreSQL writes them. */
const TIME_TYPES = [1184, 1082, 1114];

/**
 * What decides how values are written and statements are read, whatever the database, the role or the URL say. PgBouncer
 * keeps these for each of its clients, so they hold behind it as well.
 */
const TEXT_SETTINGS = { DateStyle: 'ISO, MDY', TimeZone: 'UTC', standard_conforming_strings: 'on' };
/** Migrations create everything in this schema. Poolers refuse the parameter; the database's own setting holds there. */
const SEARCH_PATH = 'public';

const asWritten = (value: unknown): unknown => value;

/**
 * Opens the driver, as every connection to the database is opened.
 *
 * It does not ask each new connection for the array types that there are, as the driver does by default: nobody waits for
 * that query, so losing the connection during it ends the process (https://github.com/porsager/postgres/issues/1192). The
 * array types of parameters are declared here instead; arrays of enums are to be cast from `text[]`, and arrays in
 * results to be read as JSON. What else the driver gets wrong about lost connections is mended in `patches/`.
 * @throws ConnectionUrlError
 */
export function openDriver(url: string, options: DriverOptions): Sql {
  const target = parseConnectionUrl(url);
  const isDirect = endpointKind(url) === 'direct';
  const { connection, sessionSettings, ...rest } = options;
  const arrays = Object.entries(ARRAY_TYPES).map(([name, oid]) => [
    name,
    { to: oid, from: [], serialize: toArrayLiteral, parse: undefined },
  ]);
  const types = {
    ...Object.fromEntries(arrays),
    instant: { to: 1184, from: TIME_TYPES, serialize: asWritten, parse: asWritten },
  } as Record<string, never>;
  return postgres({
    host: [...target.hosts],
    port: [...target.ports],
    ...definedOnly({
      path: target.socketPath,
      user: target.user,
      pass: target.password,
      database: target.database,
      target_session_attrs: target.targetSessionAttributes,
      sslnegotiation: target.isDirectTls ? 'direct' : undefined,
    }),
    ssl: target.ssl,
    ...rest,
    connect_timeout: target.connectTimeoutSeconds || (rest.connect_timeout ?? DEFAULT_CONNECT_TIMEOUT_S),
    prepare: target.preparedStatements ?? isDirect,
    connection: {
      ...connection,
      ...(isDirect ? { search_path: SEARCH_PATH, ...sessionSettings } : {}),
      ...target.startup,
      ...TEXT_SETTINGS,
    },
    fetch_types: false,
    types,
    onnotice: () => {},
  } as unknown as postgres.Options<Record<string, never>>);
}

const definedOnly = (values: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));

/**
 * An array as PostgreSQL reads it: `{"a","say \"hi\"",NULL}`. When the driver repeats a statement (its plan has become
 * invalid), it passes what it has serialized before.
 */
function toArrayLiteral(values: readonly (string | number | null)[] | string): string {
  if (typeof values === 'string') return values;
  const elements = values.map((value) =>
    value === null ? 'NULL' : `"${String(value).replaceAll(/["\\]/g, '\\$&')}"`,
  );
  return `{${elements.join(',')}}`;
}
