/**
 * Limits the work under way at Redis, so that this process's earlier requests do not delay its later ones. Callers
 * that have to wait proceed in the order of their arrival.
 */
export class InFlightLimit {
  private used = 0;
  private readonly waiting: { readonly cost: number; readonly go: () => void }[] = [];

  constructor(private readonly max: number) {}

  /** Takes room for a piece of work; undefined if there is room at once. A piece that is alone always fits. */
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
