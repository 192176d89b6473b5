/** How long another release's values are made way for, before the plain keys are tried again (ms). */
const APART_MS = 15 * 60_000;

/**
 * The Redis keys of a resource's values.
 *
 * They are the resource's own, until a value of another shape is found under one: then another release of the server uses
 * them, and this one keeps its values beside them (`bot:{id}:shape:1f0c2a9b`), so that both find their own again. Tags and
 * generations are shared: whichever release invalidates, the values of both are outdated.
 */
export class ValueKeys<Id> {
  private apartUntil = -Infinity;

  /** @param shape the digest of the shape of the values */
  constructor(
    private readonly plainKeyOf: (id: Id) => string,
    readonly shape: string,
  ) {}

  of(id: Id): string {
    const key = this.plainKeyOf(id);
    return performance.now() < this.apartUntil ? `${key}:shape:${this.shape}` : key;
  }

  /** Another release's value was found. */
  stepAside(): void {
    this.apartUntil = performance.now() + APART_MS;
  }
}
