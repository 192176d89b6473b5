import type { Slot } from './redis-store.js';
import type { SnapshotText } from './snapshot.js';
import type { Tag } from './tags.js';

/** An id that is asked for, and the names that follow from it. */
export interface Entry<Id> {
  readonly id: Id;
  readonly slot: Slot;
  readonly tags: readonly Tag[];
}

/** A value and what vouches for it. */
export interface Answer<Value> {
  readonly value: Value | null;
  readonly snapshot: SnapshotText;
  /** The generation it was read under; undefined if Redis was not there to tell. */
  readonly generation: string | undefined;
  /** When its life ends (ms since 1970). */
  readonly expiresAt: number;
  readonly version: number;
}

/** What a load leaves out: a missing row that nothing vouches for. */
export const MISALIGNED: Answer<never> = {
  value: null,
  snapshot: '',
  generation: undefined,
  expiresAt: 0,
  version: 0,
};

/** The answers of one read, in the order in which they were asked for. */
export class Answers<Value> {
  private readonly answers: (Answer<Value> | undefined)[] = [];

  set(index: number, answer: Answer<Value>): void {
    this.answers[index] = answer;
  }

  at(index: number): Answer<Value> {
    return this.answers[index] ?? MISALIGNED;
  }
}

/** The i-th answer of a batch that is under way. */
export const pick = async <Value>(
  batch: Promise<readonly Answer<Value>[]>,
  i: number,
): Promise<Answer<Value>> => (await batch)[i] ?? MISALIGNED;
