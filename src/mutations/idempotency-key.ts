import { createHash } from 'node:crypto';

import { badInput } from '../errors.js';

/** The name of the header, and of the field in errors. */
const HEADER = 'Idempotency-Key';
const VALID = /^[!-~]{1,255}$/;

/** What a statement that writes keeps beside the write: whose mutation it is, and where the client asked for it. */
export interface WriteMark {
  /** The field of the schema: `createBot`. */
  readonly mutation: string;
  readonly requestId: string;
  /** Null: the write is made as often as it is asked for. */
  readonly key: string | null;
  /** The place of the mutation among those of its request, from 0: a key covers all of them, each by itself. */
  readonly ordinal: number;
  /** A digest of the request. A key may not be used for another one. */
  readonly fingerprint: string;
}

/** A request with the header `Idempotency-Key`, by which a client may repeat its mutations without harm. */
export class IdempotencyKey {
  private begun = 0;
  private fingerprint: string | undefined;

  constructor(
    private readonly given: string | readonly string[],
    private readonly body: unknown,
  ) {}

  /**
   * The next mutation of the request. GraphQL executes mutations one after another, in the order of the document.
   * @throws ApiError BAD_USER_INPUT naming the header
   */
  next(): Pick<WriteMark, 'key' | 'ordinal' | 'fingerprint'> {
    if (typeof this.given !== 'string' || !VALID.test(this.given))
      throw badInput(HEADER, 'must have 1 to 255 visible ASCII characters');
    this.fingerprint ??= fingerprintOf(this.body);
    return { key: this.given, ordinal: this.begun++, fingerprint: this.fingerprint };
  }
}

const NO_KEY = { key: null, ordinal: 0, fingerprint: '' };

/** Marks the write of a mutation. Call it once for each, before anything is awaited. @throws as {@link IdempotencyKey} */
export const markWrite = (
  context: { readonly requestId: string; readonly idempotencyKey: IdempotencyKey | undefined },
  mutation: string,
): WriteMark => ({
  mutation,
  requestId: context.requestId,
  ...(context.idempotencyKey?.next() ?? NO_KEY),
});

/** The error for a key that a client has used for another request. */
export const keyOfAnotherRequest = (): Error => badInput(HEADER, 'was used for another request before');

/** A digest of what a request asks for. The order of the properties of objects does not matter. */
function fingerprintOf(body: unknown): string {
  const { query, operationName, variables, extensions } = (body ?? {}) as Record<string, unknown>;
  // A persisted document may be sent as its digest, or with its text.
  const persisted = (extensions as { persistedQuery?: { sha256Hash?: unknown } } | null | undefined)
    ?.persistedQuery?.sha256Hash;
  const document = typeof persisted === 'string' ? persisted : digest(String(query), 'hex');
  return digest(JSON.stringify([document, operationName ?? null, variables ?? {}], sorted), 'base64url');
}

const digest = (text: string, encoding: 'hex' | 'base64url'): string =>
  createHash('sha256').update(text).digest(encoding);

function sorted(_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
