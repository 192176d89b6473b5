/**
 * Bounds the work that is under way at Redis at any time, so that what comes later is not late because of what this
 * process itself has sent before. Those who have to wait go in the order in which they came.
 */
export class InFlightLimit {
  private used = 0;
  private readonly waiting: { readonly cost: number; readonly go: () => void }[] = [];

  constructor(private readonly max: number) {}

  /** Takes room for some work; undefined if there is room at once. A single piece of work always fits. */
  enter(cost: number): Promise<void> | undefined {
    if (this.waiting.length === 0 && this.fits(cost)) {
      this.used += cost;
      return undefined;
    }
    return new Promise((resolve) => {
      this.waiting.push({ cost, go: resolve });
    });
  }

  /** Gives the room back. */
  leave(cost: number): void {
    this.used -= cost;
    for (let next = this.waiting[0]; next && this.fits(next.cost); next = this.waiting[0]) {
      this.waiting.shift();
      this.used += next.cost;
      next.go();
    }
  }

  private fits(cost: number): boolean {
    return this.used === 0 || this.used + cost <= this.max;
  }
}
