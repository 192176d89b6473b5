/** How long this release avoids the plain keys after it found another release's value there (ms). */
const APART_MS = 15 * 60_000;

/**
 * The Redis keys of a resource's values.
 *
 * A resource uses its plain keys until it finds a value of another shape under one. Another release of the server
 * uses the plain keys then, and this one stores its values beside them (`bot:{id}:shape:1f0c2a9b`), so that each
 * release finds its own. Both share tags and generations: an invalidation by one release outdates the values of both.
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

  /** Call this when another release's value was found. */
  stepAside(): void {
    this.apartUntil = performance.now() + APART_MS;
  }
}
