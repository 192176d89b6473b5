import type { Work } from '../cache/core/work.js';
import { FairShares, nextOf, type Use, type Waiting } from './fair-shares.js';

/** How long a request waits for its turn (ms). */
const MAX_WAIT_MS = 1_000;
/** How many requests wait, for each that is executed. */
const WAITING_FOR_EACH = 10;
/** The part of the line that one caller may fill. */
const LINE_OF_CALLER = 0.5;

/** Some room is left to others, whoever uses the rest. */
const SHARES = { caller: 0.9, group: 0.95, heavyCaller: 0.25, heavyGroup: 0.5 };

/** Why a request is refused: too many wait, or it has waited for too long. */
export type RefusalReason = 'full' | 'late';

interface Waiter extends Waiting {
  readonly admit: (use: Use) => void;
  readonly settled: () => void;
}

/** The requests at one moment. */
export interface AdmissionState {
  readonly max: number;
  readonly inFlight: number;
  readonly waiting: number;
}

/**
 * Limits how many requests are executed at a time. Others wait for a moment, in a line that is as long as it is useful to
 * wait. What cannot be done soon is refused at once, so that the answers to the others stay as fast as they are.
 */
export class Admission {
  private readonly shares: FairShares;
  private readonly waiting = new Set<Waiter>();
  private inFlight = 0;

  constructor(
    private readonly max: number,
    private readonly refusal: (reason: RefusalReason) => Error,
  ) {
    this.shares = new FairShares({ capacity: max, ...SHARES });
  }

  get state(): AdmissionState {
    return { max: this.max, inFlight: this.inFlight, waiting: this.waiting.size };
  }

  /**
   * Returns a use at once if there is room, or a promise for one. Whoever got it ends it.
   * @throws the error for a refusal; the reason why the demand ended
   */
  enter({ consumer, demand }: Work): Use | Promise<Use> {
    const now = performance.now();
    this.shares.asked(consumer, now);
    if (this.inFlight < this.max && this.shares.mayTake(consumer, now)) return this.begin(consumer, now);
    if (this.isLineFull(consumer)) throw this.refusal('full');
    return new Promise<Use>((resolve, reject) => {
      let takeBack: (() => void) | undefined;
      const giveUp = (error: Error) => {
        settled();
        reject(error);
      };
      const timer = setTimeout(() => giveUp(this.refusal('late')), MAX_WAIT_MS);
      const settled = () => {
        this.waiting.delete(waiter);
        clearTimeout(timer);
        takeBack?.();
      };
      const waiter: Waiter = { consumer, since: now, admit: resolve, settled };
      this.waiting.add(waiter);
      takeBack = demand?.onEnd(giveUp);
    });
  }

  /** Whether the line has no room for this consumer: one who sends very much must not keep the others out of it. */
  private isLineFull(consumer: Work['consumer']): boolean {
    const most = this.max * WAITING_FOR_EACH;
    if (this.waiting.size >= most) return true;
    if (!consumer || this.waiting.size < most * LINE_OF_CALLER) return false;
    let ofCaller = 0;
    for (const waiter of this.waiting) if (waiter.consumer?.caller === consumer.caller) ofCaller += 1;
    return ofCaller >= most * LINE_OF_CALLER;
  }

  private begin(consumer: Work['consumer'], now: number): Use {
    this.inFlight += 1;
    const use = this.shares.take(consumer, now);
    return {
      end: () => {
        use.end();
        this.inFlight -= 1;
        this.admitNext();
      },
    };
  }

  private admitNext(): void {
    while (this.inFlight < this.max && this.waiting.size > 0) {
      const now = performance.now();
      const waiter = nextOf(this.waiting, (each) => this.shares.placeOf(each, now));
      if (!waiter) return;
      waiter.settled();
      waiter.admit(this.begin(waiter.consumer, now));
    }
  }
}
