import postgres from 'postgres';

import { parseConnectionUrl } from './connection-url.js';
import { endpointKind } from './endpoint-kind.js';

export type Sql = postgres.Sql;

export type DriverOptions = Pick<
  postgres.Options<Record<string, never>>,
  'max' | 'connect_timeout' | 'idle_timeout' | 'max_lifetime' | 'onclose'
> & {
  readonly connection?: Readonly<Record<string, string>>;
  /** Settings of each session. They are not sent behind a pooler, where sessions do not belong to a connection. */
  readonly sessionSettings?: Readonly<Record<string, string>>;
};

const DEFAULT_CONNECT_TIMEOUT_S = 5;

/** Types of the statements' array parameters, by their oids in `pg_type`. */
const ARRAY_TYPES = { int4: 1007, text: 1009, int8: 1016, uuid: 2951 };
/** `timestamptz`, `date`, `timestamp`: returned in PostgreSQL's own text form. */
const TIME_TYPES = [1184, 1082, 1114];

/**
 * Settings that decide how values are written and statements are read, whatever the database, the role or the URL
 * set. They hold behind PgBouncer as well, which keeps them for each of its clients.
 */
const TEXT_SETTINGS = { DateStyle: 'ISO, MDY', TimeZone: 'UTC', standard_conforming_strings: 'on' };
/**
 * Migrations create everything in this schema. Poolers refuse the parameter; the database's own setting applies
 * there.
 */
const SEARCH_PATH = 'public';

const asWritten = (value: unknown): unknown => value;

/**
 * Opens the driver for any connection to the database.
 *
 * The driver's default is to query the array types on each new connection. No caller waits for that query, so losing
 * the connection during it ends the process (https://github.com/porsager/postgres/issues/1192). The query is switched
 * off, and the array types of parameters are declared here. Cast arrays of enums from `text[]`, and read arrays in
 * results as JSON. `patches/` fixes other mistakes of the driver with lost connections.
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
 * Writes an array as PostgreSQL reads it: `{"a","say \"hi\"",NULL}`. When the driver repeats a statement because its
 * plan has become invalid, it passes the text that was written before.
 */
function toArrayLiteral(values: readonly (string | number | null)[] | string): string {
  if (typeof values === 'string') return values;
  const elements = values.map((value) =>
    value === null ? 'NULL' : `"${String(value).replaceAll(/["\\]/g, '\\$&')}"`,
  );
  return `{${elements.join(',')}}`;
}
