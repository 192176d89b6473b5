import type { SnapshotText } from './snapshot.js';
import type { Tag } from './tags.js';

/** What vouches for one value that was read. */
export interface Witness {
  readonly generationKeys: readonly string[];
  /** The generations' tokens, joined by dots. */
  readonly generation: string;
  readonly tags: readonly Tag[];
  readonly snapshot: SnapshotText;
  /** When the value's TTL ends (ms since 1970). */
  readonly expiresAt: number;
}

/**
 * Collects what an answer is built from: the generations and snapshots of every value that was read for it. An answer
 * may be given again exactly as long as each of these values could be.
 */
export class ReadTrace {
  /** The generation that each key must still hold. */
  readonly generations = new Map<string, string>();
  /** The tags that were read under each snapshot. */
  readonly snapshots = new Map<SnapshotText, Set<Tag>>();
  expiresAt = Infinity;
  private spoiled = false;
  private concluded = false;

  /** Whether the answer may be given again: it is complete, and all that was read for it is vouched for. */
  get isRepeatable(): boolean {
    return this.concluded && !this.spoiled && this.generations.size > 0;
  }

  /** The answer is complete, and is one that may be given again as far as what was asked goes. */
  conclude(): void {
    this.concluded = true;
  }

  note(witness: Witness): void {
    const tokens = witness.generation.split('.');
    witness.generationKeys.forEach((key, i) => {
      const token = tokens[i] ?? '';
      const known = this.generations.get(key);
      // Something was invalidated between two reads of one answer.
      if (known !== undefined && known !== token) this.spoiled = true;
      this.generations.set(key, token);
    });
    let tags = this.snapshots.get(witness.snapshot);
    if (!tags) this.snapshots.set(witness.snapshot, (tags = new Set()));
    for (const tag of witness.tags) tags.add(tag);
    this.expiresAt = Math.min(this.expiresAt, witness.expiresAt);
  }

  /** Something was read that no generation vouches for. */
  spoil(): void {
    this.spoiled = true;
  }
}
