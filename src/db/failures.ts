/** The SQLSTATEs that this server handles specially. `src/start-failure.ts` explains them to operators. */
const FOREIGN_KEY_VIOLATION = '23503';
const UNIQUE_VIOLATION = '23505';
const STARTING_UP = '57P03';
const LOCK_NOT_AVAILABLE = '55P03';
const QUERY_CANCELED = '57014';

const MAX_CAUSES = 10;

/** The SQLSTATE of a database error, even if other errors wrap it: `23503` foreign key, `23505` unique, … */
export function sqlState(error: unknown): string | undefined {
  const code = codeOf(error);
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

export const isForeignKeyViolation = (error: unknown): boolean => sqlState(error) === FOREIGN_KEY_VIOLATION;

export const isUniqueViolation = (error: unknown): boolean => sqlState(error) === UNIQUE_VIOLATION;

export const isLockTimeout = (error: unknown): boolean => sqlState(error) === LOCK_NOT_AVAILABLE;

/** Whether PostgreSQL ended the statement: it took too long, or nobody waited for it any more. */
export const isCanceled = (error: unknown): boolean => sqlState(error) === QUERY_CANCELED;

/** A statement that this server did not complete in time, or did not send at all. */
export class StatementError extends Error {
  override readonly name = 'StatementError';

  constructor(
    readonly code: 'POOL_TIMEOUT' | 'NO_ANSWER' | 'NOT_CONNECTED' | 'SNAPSHOT_TIMEOUT',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A temporary failure. */
export interface TransientFailure {
  /** The message for clients: the failure, and the next step. */
  readonly message: string;
  /** Whether the database has certainly changed nothing, so that a write may be tried again. */
  readonly nothingDone: boolean;
  /** Whether trying again at once is likely to succeed. */
  readonly retryAtOnce: boolean;
  /** Whether the connection may be used again. */
  readonly keepsConnection: boolean;
  /** The connection turned out to be to a pooler, see {@link endpointKind}. */
  readonly showsPooler: boolean;
}

const failure = (message: string, traits: Partial<TransientFailure> = {}): TransientFailure => ({
  message,
  nothingDone: false,
  retryAtOnce: false,
  keepsConnection: false,
  showsPooler: false,
  ...traits,
});

const AWAY = 'The database cannot be reached at the moment; try again';
const COLLIDED = failure('The change collided with another one, and nothing was changed; try again', {
  nothingDone: true,
  retryAtOnce: true,
  keepsConnection: true,
});
const LOST = failure(AWAY, { retryAtOnce: true });
const REFUSED = failure(AWAY, { nothingDone: true, retryAtOnce: true });
const POOLER = failure(AWAY, { nothingDone: true, retryAtOnce: true, showsPooler: true });
/** The network has given up a connection that was open: the statement may have arrived before. */
const CUT_OFF = failure(AWAY);
const NO_CONNECTION = failure(AWAY, { nothingDone: true });
const TOO_SLOW = 'The database took longer than allowed; try again later';

/** By SQLSTATE, by its first two characters, or by the code of the driver, the operating system or this server. */
const FAILURES: Readonly<Record<string, TransientFailure>> = {
  // Deadlocks and serialization failures: PostgreSQL has rolled the statement back.
  '40': COLLIDED,
  '40003': LOST,
  [LOCK_NOT_AVAILABLE]: failure(
    'What this needs is locked by another change, and nothing was changed; try again later',
    {
      nothingDone: true,
      keepsConnection: true,
    },
  ),
  [QUERY_CANCELED]: failure(TOO_SLOW, { nothingDone: true, keepsConnection: true }),
  '25P03': failure(TOO_SLOW, { nothingDone: true }),
  '25P04': failure(TOO_SLOW, { nothingDone: true }),
  '72': failure(TOO_SLOW, { nothingDone: true, keepsConnection: true }),
  // The primary has become a standby. Another connection may reach the new primary.
  '25006': REFUSED,
  // The connection was ended while idle, or refused.
  [STARTING_UP]: REFUSED,
  '57P05': REFUSED,
  '53300': REFUSED,
  '53': failure('The database lacks the resources for this at the moment; try again later', {
    nothingDone: true,
    keepsConnection: true,
  }),
  // Poolers report with this that they have lost the connection to PostgreSQL.
  '58000': LOST,
  '58': failure('The database cannot read or write its files at the moment; try again later', {
    nothingDone: true,
    keepsConnection: true,
  }),
  '57': LOST,
  '08': LOST,
  // Named statements and session settings that a pooler does not support.
  '26000': POOLER,
  '42P05': POOLER,
  // PgBouncer reports everything with this, also that PostgreSQL ended during the statement.
  '08P01': { ...POOLER, nothingDone: false },
  CONNECTION_CLOSED: LOST,
  CONNECTION_ENDED: LOST,
  CONNECTION_DESTROYED: LOST,
  ECONNRESET: LOST,
  EPIPE: LOST,
  ETIMEDOUT: LOST,
  ECONNABORTED: LOST,
  ECONNREFUSED: REFUSED,
  EAI_AGAIN: REFUSED,
  ENOTFOUND: REFUSED,
  ENOENT: REFUSED,
  EHOSTUNREACH: CUT_OFF,
  EHOSTDOWN: CUT_OFF,
  ENETUNREACH: CUT_OFF,
  ENETDOWN: CUT_OFF,
  ENETRESET: CUT_OFF,
  CONNECT_TIMEOUT: NO_CONNECTION,
  NOT_CONNECTED: REFUSED,
  NO_ANSWER: failure(TOO_SLOW),
  SNAPSHOT_TIMEOUT: failure(TOO_SLOW, { nothingDone: true }),
  POOL_TIMEOUT: failure('All connections to the database are in use; try again later', {
    nothingDone: true,
    keepsConnection: true,
  }),
};

/** Codes of Node.js and OpenSSL for a connection that broke, such as `ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC`. */
const BROKEN_CONNECTION = /^(ERR_SSL|ERR_TLS|ERR_STREAM|ERR_SOCKET|EPROTO$)/;

/** The kind of temporary failure; undefined for any other error. */
export function transientFailure(error: unknown): TransientFailure | undefined {
  const code = codeOf(error);
  if (code === undefined) return undefined;
  const found = FAILURES[code] ?? classOf(code);
  if (!isNotConnected(error)) return found;
  // No statement is sent before the connection is open. Whatever refuses a new connection, such as a changed password or
  // another certificate, can be mended while this server runs.
  return found ? { ...found, nothingDone: true } : NO_CONNECTION;
}

function classOf(code: string): TransientFailure | undefined {
  if (BROKEN_CONNECTION.test(code)) return LOST;
  return /^[0-9A-Z]{5}$/.test(code) ? FAILURES[code.slice(0, 2)] : undefined;
}

/**
 * Whether a failed write may have been committed: its connection was lost, or no reply came in time. PostgreSQL rolls
 * back everything that it refuses itself.
 */
export function isOutcomeUnknown(error: unknown): boolean {
  const passing = transientFailure(error);
  return passing ? !passing.nothingDone : sqlState(error) === undefined;
}

function isNotConnected(error: unknown): boolean {
  return causesOf(error).some((cause) => cause instanceof StatementError && cause.code === 'NOT_CONNECTED');
}

/** The innermost code of an error and its causes. */
export function codeOf(error: unknown): string | undefined {
  return causesOf(error)
    .map(({ code }) => code)
    .findLast((code) => typeof code === 'string');
}

/** An error and its causes, the outermost first. */
function causesOf(error: unknown): { readonly code?: unknown }[] {
  const causes: { readonly code?: unknown; readonly cause?: unknown; readonly errors?: unknown }[] = [];
  // `instanceof Error` would miss the system's errors, which may come from another realm.
  let cause = error;
  while (typeof cause === 'object' && cause !== null && causes.length < MAX_CAUSES) {
    causes.push(cause);
    const { cause: next, errors } = cause as { cause?: unknown; errors?: unknown };
    // Several errors: one for each address of a host name.
    cause = next ?? (Array.isArray(errors) ? errors[0] : undefined);
  }
  return causes;
}
