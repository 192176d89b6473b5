/** Replies about a temporary state of the server: it is loading, has lost its master, is incomplete. */
const CANNOT_SERVE = /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|NOAUTH|MISCONF)\b/;

/** Replies that refuse a command for good: no right, no such command, no memory. Scripts use words of their own. */
const REFUSED = /\b(NOPERM|OOM)\b|unknown (redis )?command|no permissions? to|acl failure|the script can't/i;

const UUID = /[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/gi;

/** Redis answers, but refuses a command that the cache needs. */
export class RedisRefusalError extends Error {
  override readonly name = 'RedisRefusalError';

  constructor(
    /** The command, as Redis names it. */
    readonly command: string,
    /** The key, with placeholders for its variable parts. */
    readonly keyPattern: string,
    message: string,
  ) {
    super(message);
  }

  /** May be shown to everybody: it contains no ids and no host. */
  get summary(): string {
    const [code = ''] = /^[A-Z]+(?= )/.exec(this.message) ?? [];
    return `Redis refuses ${this.command} on ${this.keyPattern}${code === '' || code === 'ERR' ? '' : ` (${code})`}`;
  }
}

/** Whether an error is a reply of Redis itself. */
export const isReply = (error: Error): boolean => error.name === 'ReplyError';

/** The reply; `otherwise` if the key is of another type, as only somebody else can have stored it. */
export async function unlessOtherType<Reply>(reply: Promise<Reply>, otherwise: Reply): Promise<Reply> {
  try {
    return await reply;
  } catch (error) {
    if (error instanceof Error && isReply(error) && error.message.startsWith('WRONGTYPE')) return otherwise;
    throw error;
  }
}

/** Whether an error means that Redis can serve nobody now: it is not a reply, or it is a reply that says so. */
export const saysUnavailable = (error: Error): boolean =>
  error.name !== 'RedisRefusalError' && (!isReply(error) || CANNOT_SERVE.test(error.message));

/** The refusal that an error represents; undefined for other errors. */
export function refusalOf(error: Error): RedisRefusalError | undefined {
  if (error instanceof RedisRefusalError) return error;
  if (!isReply(error) || CANNOT_SERVE.test(error.message) || !REFUSED.test(error.message)) return undefined;
  const { name = 'a command', args = [] } =
    (error as Error & { command?: { name?: string; args?: readonly unknown[] } }).command ?? {};
  // The arguments of EVAL are the script, the number of keys, and the keys.
  const key = args[name === 'eval' ? 2 : 0];
  const pattern = typeof key === 'string' ? patternOf(key) : 'a key';
  return new RedisRefusalError(name.toUpperCase(), pattern, error.message);
}

/** A key with placeholders for its variable parts. */
const patternOf = (key: string): string =>
  key
    .replace(UUID, '{id}')
    .replace(/:search:.*/, ':search:{search}')
    .slice(0, 120);
