import { codeOf } from './db/failures.js';
import { ConfigError } from './config.js';

/** The reason why a program could not start, in a sentence that names the setting to change and contains no secret. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

/** Prints why a program could not start, and ends it. Unexpected errors are printed with their stack. */
export function endWith(error: unknown): never {
  const isForeseen = error instanceof ConfigError || error instanceof StartError;
  console.error(isForeseen ? error.message : error);
  process.exit(1);
}

/** The mistake in the address that the server listens on; undefined for another failure. */
export function listenProblem(
  error: unknown,
  at: { host: string; port: number; adminPort?: number | undefined },
): StartError | undefined {
  const { port = at.port } = error as { port?: number };
  const setting = port === at.adminPort ? 'ADMIN_PORT' : 'PORT';
  switch (codeOf(error) ?? '') {
    case 'EADDRINUSE':
      return new StartError(
        `${setting} ${port} is in use by another program; choose another one, or stop that program.`,
      );
    case 'EACCES':
      return new StartError(`${setting} ${port} is only for privileged users here; choose one above 1023.`);
    case 'EADDRNOTAVAIL':
      return new StartError(
        `HOST ${at.host} is not an address of this machine; 0.0.0.0 stands for all of its addresses.`,
      );
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new StartError(
        `HOST ${at.host} is not known; give an address of this machine, such as 0.0.0.0.`,
      );
    default:
      return undefined;
  }
}

/** The mistakes in DATABASE_URL, by the code with which PostgreSQL or the network refuses. */
const DATABASE_PROBLEMS: Readonly<Record<string, string>> = {
  '28P01': 'holds a password that PostgreSQL refuses for its user',
  '28000': 'names a user, or a way to connect, that PostgreSQL refuses',
  '3D000': 'names a database that does not exist',
  '42501': 'names a user without the rights that are needed',
  '53300':
    'names a PostgreSQL that takes no more connections; lower DATABASE_POOL_MAX or raise max_connections',
  '57P03': 'names a PostgreSQL that is still starting up',
  '25006': 'names a PostgreSQL that is read-only, such as a standby',
  ECONNREFUSED: 'names an address where no PostgreSQL answers',
  ENOTFOUND: 'names a host that is not known',
  EAI_AGAIN: 'names a host that cannot be looked up at the moment',
  ETIMEDOUT: 'names a PostgreSQL that does not answer',
  CONNECT_TIMEOUT: 'names a PostgreSQL that does not answer',
  EHOSTUNREACH: 'names a host that cannot be reached',
  ENETUNREACH: 'names a host that cannot be reached',
  ECONNRESET: 'names a server that closes the connection; it may refuse TLS, or be no PostgreSQL',
  CONNECTION_CLOSED: 'names a server that closes the connection; it may refuse TLS, or be no PostgreSQL',
  EPIPE: 'names a server that closes the connection; it may refuse TLS, or be no PostgreSQL',
};

/** Codes of Node.js and OpenSSL: the two sides do not agree on TLS, or the certificate is not trusted. */
const TLS_PROBLEM = /^(ERR_SSL|ERR_TLS|EPROTO|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/;

/** The mistake in DATABASE_URL that an error shows; undefined if it shows none. */
export function databaseProblem(error: unknown): StartError | undefined {
  const code = codeOf(error);
  if (code === undefined) return undefined;
  const problem = TLS_PROBLEM.test(code)
    ? 'asks for TLS in a way that the server does not offer, or its certificate is not trusted'
    : DATABASE_PROBLEMS[code];
  return problem === undefined
    ? undefined
    : new StartError(`DATABASE_URL ${problem} (${code}).`, { cause: error });
}
