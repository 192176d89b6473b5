import { readFileSync } from 'node:fs';
import { checkServerIdentity, type ConnectionOptions } from 'node:tls';

/** The parts of a `postgres://` URL. */
export interface ConnectionTarget {
  readonly hosts: readonly string[];
  readonly ports: readonly number[];
  /** The file of a Unix socket, used instead of hosts. */
  readonly socketPath: string | undefined;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  readonly ssl: false | 'require' | 'prefer' | ConnectionOptions;
  readonly isDirectTls: boolean;
  readonly connectTimeoutSeconds: number | undefined;
  /** Prisma's `connection_limit`: the size of the pool. */
  readonly connectionLimit: number | undefined;
  /** Whether named prepared statements may be used; undefined if that is to be detected. */
  readonly preparedStatements: boolean | undefined;
  readonly targetSessionAttributes: string | undefined;
  /** Parameters that are sent to PostgreSQL at the start of a session. */
  readonly startup: Readonly<Record<string, string>>;
}

/** A rule that a connection URL breaks. The message never repeats the URL, because of its password. */
export class ConnectionUrlError extends Error {
  override readonly name = 'ConnectionUrlError';
}

const SHAPE =
  /^postgres(?:ql)?:\/\/(?:(?<userInfo>[^/?#]*)@)?(?<hosts>[^/?#@]*)(?:\/(?<database>[^?#/]*))?(?:\?(?<query>[^#]*))?$/i;
const DEFAULT_PORT = 5432;
const DEFAULT_SOCKET_FOLDER = '/var/run/postgresql';

/** Parameters that providers print but that do not change this driver. */
const WITHOUT_EFFECT = new Set([
  // The driver has no channel binding; TLS is governed by sslmode alone.
  'channel_binding',
  'fallback_application_name',
  'gssencmode',
  'keepalives',
  'keepalives_count',
  'keepalives_idle',
  'keepalives_interval',
  'krbsrvname',
  'pool_timeout',
  'socket_timeout',
  'sslcompression',
  'statement_cache_size',
  'supa',
  'tcp_user_timeout',
  'uselibpqcompat',
  'workaround',
]);

/** Parameters for which this server has a setting. */
const INSTEAD: Readonly<Record<string, string>> = {
  statement_timeout: 'DATABASE_STATEMENT_TIMEOUT_MS',
  lock_timeout: 'DATABASE_LOCK_TIMEOUT_MS',
};

const SWITCH: Readonly<Record<string, boolean>> = {
  true: true,
  on: true,
  '1': true,
  false: false,
  off: false,
  '0': false,
};

/**
 * Reads a connection URL in the form of libpq, Prisma or the usual providers.
 * @throws ConnectionUrlError with one sentence that names the mistake and contains no secret
 */
export function parseConnectionUrl(url: string): ConnectionTarget {
  const parts = SHAPE.exec(url)?.groups;
  if (!parts) {
    throw new ConnectionUrlError(
      'must be postgres://user:password@host:port/database; characters such as / ? # % in the user name or the password must be percent-encoded',
    );
  }
  const parameters = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(parts.query)) parameters.set(name, value);
  const take = (name: string): string | undefined => {
    const value = parameters.get(name);
    parameters.delete(name);
    return value === '' ? undefined : value;
  };

  const [user, password] = splitOnce(parts.userInfo ?? '', ':');
  const hostList = take('host') ?? decode(parts.hosts ?? '', 'host');
  const portList = take('port');
  const addresses = (hostList === '' ? 'localhost' : hostList)
    .split(',')
    .map((address) => parseAddress(address, portList));
  const [first] = addresses;
  const isSocket = first?.host.startsWith('/') === true || hostList.startsWith('/');
  const schema = take('schema');
  if (schema !== undefined && schema !== 'public') {
    throw new ConnectionUrlError('has the parameter schema, but the tables are always in the schema public');
  }
  const encoding = take('client_encoding');
  if (encoding !== undefined && !/^(utf-?8|unicode|auto)$/i.test(encoding)) {
    throw new ConnectionUrlError('has the parameter client_encoding, but only UTF8 is supported');
  }
  const target: ConnectionTarget = {
    hosts: addresses.map(({ host }) => host),
    ports: addresses.map(({ port }) => port),
    socketPath: isSocket
      ? `${first?.host ?? DEFAULT_SOCKET_FOLDER}/.s.PGSQL.${first?.port ?? DEFAULT_PORT}`
      : undefined,
    user: take('user') ?? (user === '' ? undefined : decode(user, 'user name')),
    password: take('password') ?? (password === undefined ? undefined : decode(password, 'password')),
    database:
      take('dbname') ??
      (parts.database === undefined || parts.database === ''
        ? undefined
        : decode(parts.database, 'name of the database')),
    ssl: isSocket
      ? (take('sslmode'), false)
      : tlsOf(take, addresses.length === 1 ? (first?.host ?? '') : undefined),
    isDirectTls: take('sslnegotiation') === 'direct',
    connectTimeoutSeconds: wholeNumber('connect_timeout', take('connect_timeout')),
    connectionLimit: wholeNumber('connection_limit', take('connection_limit')),
    preparedStatements: preparedStatements(take),
    targetSessionAttributes: sessionAttributes(take('target_session_attrs')),
    startup: defined({ application_name: take('application_name'), options: take('options') }),
  };
  for (const name of parameters.keys()) {
    if (WITHOUT_EFFECT.has(name)) continue;
    const instead = Object.hasOwn(INSTEAD, name) ? INSTEAD[name] : undefined;
    throw new ConnectionUrlError(
      instead === undefined
        ? `has the parameter ${name}, which is not understood`
        : `has the parameter ${name}; set ${instead} instead`,
    );
  }
  return target;
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ConnectionUrlError(`has a % in its ${what} that is not part of a percent-encoded character`);
  }
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

/** Reads `host`, `host:port`, `[::1]:port` or the folder of a Unix socket. */
function parseAddress(address: string, portList: string | undefined): { host: string; port: number } {
  const given = wholeNumber('port', portList?.split(',')[0]) ?? DEFAULT_PORT;
  if (address.startsWith('/')) return { host: address, port: given };
  const match = /^(?:\[(?<ip>[^\]]+)\]|(?<name>[^:]*))(?::(?<port>\d{0,5}))?$/.exec(address)?.groups;
  if (!match) throw new ConnectionUrlError('has a host that is not of the form host:port');
  const port = match.port ? Number(match.port) : given;
  if (port > 65_535) throw new ConnectionUrlError('has a port above 65535');
  return { host: match.ip ?? (match.name || 'localhost'), port };
}

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text))
    throw new ConnectionUrlError(`has the parameter ${name}, which must be a whole number`);
  return Number(text);
}

function switched(name: string, text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  const value = Object.hasOwn(SWITCH, text) ? SWITCH[text] : undefined;
  if (value === undefined)
    throw new ConnectionUrlError(`has the parameter ${name}, which must be true or false`);
  return value;
}

function preparedStatements(take: (name: string) => string | undefined): boolean | undefined {
  const isPgBouncer = switched('pgbouncer', take('pgbouncer'));
  const prepare = switched('prepare', take('prepare'));
  return prepare ?? (isPgBouncer === true ? false : undefined);
}

function sessionAttributes(value: string | undefined): string | undefined {
  if (value === undefined || value === 'any') return undefined;
  if (!['read-write', 'read-only', 'primary', 'standby', 'prefer-standby'].includes(value)) {
    throw new ConnectionUrlError('has an unknown value for target_session_attrs');
  }
  return value;
}

/** Translates libpq's `sslmode` for Node.js; `ssl=true` is short for `require`. */
function tlsOf(
  take: (name: string) => string | undefined,
  host: string | undefined,
): ConnectionTarget['ssl'] {
  const short = switched('ssl', take('ssl'));
  const mode = take('sslmode') ?? (short === true ? 'require' : 'disable');
  const rootCertificate = take('sslrootcert');
  // Prisma's parameter for whether the certificate is verified.
  const isStrict = take('sslaccept') === 'strict';
  const files = defined({
    cert: readCertificate('sslcert', take('sslcert')),
    key: readCertificate('sslkey', take('sslkey')),
  });
  const ca = rootCertificate === 'system' ? undefined : readCertificate('sslrootcert', rootCertificate);
  const isFull = mode === 'verify-full' || rootCertificate === 'system' || (mode === 'require' && isStrict);
  if (isFull || mode === 'verify-ca' || (mode === 'require' && ca !== undefined)) {
    return {
      ...files,
      ...(ca === undefined ? {} : { ca }),
      rejectUnauthorized: true,
      checkServerIdentity: (name, certificate) =>
        isFull ? checkServerIdentity(host ?? name, certificate) : undefined,
    };
  }
  switch (mode) {
    case 'disable':
      return false;
    case 'allow':
    case 'prefer':
      return 'prefer';
    case 'require':
    case 'no-verify':
      return Object.keys(files).length === 0 ? 'require' : { ...files, rejectUnauthorized: false };
    default:
      throw new ConnectionUrlError('has an unknown value for sslmode');
  }
}

function readCertificate(name: string, file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new ConnectionUrlError(`names a file as ${name} that cannot be read (${code ?? 'unknown error'})`);
  }
}

function defined(values: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Record<
    string,
    string
  >;
}
