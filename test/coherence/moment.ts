import type { Register } from './register.js';

/** Two states of one thing in one answer. */
export interface Fracture {
  readonly thing: string;
  readonly lower: number;
  readonly higher: number;
  /** The history of the thing, if it has one. */
  readonly register: Register | undefined;
}

/**
 * What one answer shows: it must show the state of one moment, so each thing in one state only. Two things that one
 * transaction changes together count as one.
 */
export class Moment {
  private readonly seen = new Map<string, number>();
  private readonly broken = new Map<string, Fracture>();

  /** The answer shows a state of a thing. */
  see(thing: string, state: number, register?: Register): void {
    const known = this.seen.get(thing);
    if (known === undefined) this.seen.set(thing, state);
    else if (known !== state) {
      const [lower, higher] = [Math.min(known, state), Math.max(known, state)];
      this.broken.set(thing, { thing, lower, higher, register });
    }
  }

  /** One fracture for each thing that the answer shows in several states. */
  get fractures(): readonly Fracture[] {
    return [...this.broken.values()];
  }
}
