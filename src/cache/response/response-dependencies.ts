import type { Dependency, ReadDependencies } from '../core/resource.js';
import type { SnapshotText } from '../core/snapshot.js';
import type { Tag } from '../core/tags.js';

/**
 * Collects the dependencies of a response: the generations and snapshots of every value that was read for it. A
 * cached response may be returned exactly as long as each of these values could be.
 */
export class ResponseDependencies implements ReadDependencies {
  /** The generation that each key must still hold. */
  readonly generations = new Map<string, string>();
  /** The tags that were read under each snapshot. */
  readonly snapshots = new Map<SnapshotText, Set<Tag>>();
  expiresAt = Infinity;
  private isUncacheable = false;
  private isComplete = false;

  /** Whether the response may be cached: it is complete, and every value that was read for it has a generation. */
  get isCacheable(): boolean {
    return this.isComplete && !this.isUncacheable && this.generations.size > 0;
  }

  /** Marks the response as complete. Call it only if the request itself may be cached. */
  complete(): void {
    this.isComplete = true;
  }

  /** Adds a value that depends on these tags. `generationKeys` is aligned with the tokens of its generation. */
  add(tags: readonly Tag[], generationKeys: readonly string[], dependency: Dependency): void {
    const { generation, snapshot, expiresAt } = dependency;
    const [only] = generationKeys;
    if (generationKeys.length === 1 && only !== undefined) this.expect(only, generation);
    else generation.split('.').forEach((token, i) => this.expect(generationKeys[i] ?? '', token));
    let seen = this.snapshots.get(snapshot);
    if (!seen) this.snapshots.set(snapshot, (seen = new Set()));
    for (const tag of tags) seen.add(tag);
    if (expiresAt < this.expiresAt) this.expiresAt = expiresAt;
  }

  private expect(key: string, token: string): void {
    const known = this.generations.get(key);
    // A write invalidated something between two reads for this response.
    if (known !== undefined && known !== token) this.isUncacheable = true;
    this.generations.set(key, token);
  }

  /** Records that a value without a generation was read: the response must not be cached. */
  markUncacheable(): void {
    this.isUncacheable = true;
  }
}
