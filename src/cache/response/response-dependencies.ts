import type { Dependency, ReadDependencies } from '../core/resource.js';
import type { SnapshotText } from '../core/snapshot.js';
import type { Tag } from '../core/tags.js';

/**
 * Collects what an answer is built from: the generations and snapshots of every value that was read for it. An answer
 * may be given again exactly as long as each of these values could be.
 */
export class ResponseDependencies implements ReadDependencies {
  /** The generation that each key must still hold. */
  readonly generations = new Map<string, string>();
  /** The tags that were read under each snapshot. */
  readonly snapshots = new Map<SnapshotText, Set<Tag>>();
  expiresAt = Infinity;
  private isUncacheable = false;
  private isComplete = false;

  /** Whether the answer may be given again: it is complete, and all that was read for it is vouched for. */
  get isCacheable(): boolean {
    return this.isComplete && !this.isUncacheable && this.generations.size > 0;
  }

  /** The answer is complete, and is one that may be given again as far as what was asked goes. */
  complete(): void {
    this.isComplete = true;
  }

  /** A value was read that depends on these tags. `generationKeys` is aligned with the tokens of its generation. */
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
    // Something was invalidated between two reads of one answer.
    if (known !== undefined && known !== token) this.isUncacheable = true;
    this.generations.set(key, token);
  }

  /** Something was read that no generation vouches for. */
  markUncacheable(): void {
    this.isUncacheable = true;
  }
}
