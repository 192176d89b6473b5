import { requireRole, type Authorization } from '../auth/authorization.js';
import type { PrincipalRepository } from '../auth/principal.repository.js';
import type { Role } from '../auth/role.enum.js';
import { within, type Work } from '../cache/core/work.js';
import { isOutcomeUnknown, isUniqueViolation } from '../db/failures.js';
import { ApiError, ErrorCode, unavailable } from '../errors.js';
import type { InvalidationService } from '../invalidation/invalidation.service.js';
import { keyOfAnotherRequest, type WriteMark } from './idempotency-key.js';
import type { KeptOutcome } from './kept-outcome.js';

/** The part of a request's context that a write needs. */
export interface WriteContext {
  readonly authorization: Authorization;
  readonly work: Work | undefined;
  clearLoaders(): void;
}

export interface Write<Result> {
  readonly mark: WriteMark;
  /** The role that the caller needs, for a repeated request as well. */
  readonly needed: Role;
  /** The thing that is reported as missing to callers who are not members. */
  readonly what: string;
  /** Executes the statement. Undefined: it has changed nothing. */
  readonly execute: () => Promise<Result | undefined>;
  /** Finds what an earlier request with the same key has written. */
  readonly findKept: () => Promise<KeptOutcome<Result> | undefined>;
  /** The tags of everything that the statement may have changed. */
  readonly tags: () => readonly string[] | Promise<readonly string[]>;
}

const SEND_AGAIN = 'send the same request with the same Idempotency-Key again';

/** Executes the statements of mutations, and each at most once for a request with an idempotency key. */
export class Writes {
  constructor(
    private readonly principals: Pick<PrincipalRepository, 'findMany'>,
    private readonly invalidation: Pick<InvalidationService<unknown>, 'mayHaveChanged' | 'reveal'>,
  ) {}

  /**
   * Returns what the statement has written, or what that of an earlier request with the same key has; undefined if
   * neither has written anything. The caller invalidates in either case: the earlier request may have ended before it
   * could.
   *
   * If the outcome is unknown, everything that may have changed is invalidated before the caller gets the error.
   * @throws ApiError of {@link Write.execute}; BAD_USER_INPUT if the key is that of another request
   */
  async run<Result>(context: WriteContext, write: Write<Result>): Promise<Result | undefined> {
    const hasKey = write.mark.key !== null;
    let isUsed = false;
    try {
      const result = await within(context.work, write.execute);
      if (result !== undefined || !hasKey) return result;
    } catch (error) {
      isUsed = hasKey && isUniqueViolation(error);
      if (!isUsed) {
        const isUnknown = isOutcomeUnknown(error);
        if (isUnknown) await this.invalidation.mayHaveChanged(await write.tags());
        throw isUnknown && hasKey ? safeToRepeat(error) : error;
      }
    }
    const kept = await this.find(context, write);
    // The outcome was old, and was removed just now.
    if (!kept && isUsed) throw unavailable(`The Idempotency-Key has just expired; ${SEND_AGAIN}`);
    return kept?.result;
  }

  /** Finds a kept outcome. Whoever has lost access since does not get it. */
  private async find<Result>(
    context: WriteContext,
    { mark, needed, what, findKept }: Write<Result>,
  ): Promise<KeptOutcome<Result> | undefined> {
    const userId = context.authorization.requireToken();
    const kept = await within(context.work, findKept);
    if (!kept) return undefined;
    if (kept.fingerprint !== mark.fingerprint) throw keyOfAnotherRequest();
    const [caller] = await within(context.work, () => this.principals.findMany([userId]));
    await this.invalidation.reveal();
    context.clearLoaders();
    requireRole(caller?.value, needed, kept.orgId, what);
    return kept;
  }
}

/** The error of a write that may have been made, for a client that can repeat it without harm. */
function safeToRepeat(error: unknown): unknown {
  if (!(error instanceof ApiError) || error.extensions.code !== ErrorCode.UNAVAILABLE) return error;
  const message = `The database did not confirm the change, which may have been made; ${SEND_AGAIN}`;
  return Object.assign(unavailable(message, { outcome: 'unknown' }), { cause: error.cause });
}
