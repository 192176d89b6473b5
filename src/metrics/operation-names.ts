/** The maximum number of distinct names, and of characters of each. */
const MAX_NAMES = 200;
const MAX_CHARACTERS = 100;

const ANONYMOUS = 'anonymous';
const OTHER = 'other';

/**
 * Bounds the names that clients give their operations, so that they can be the label of a metric: each name is a series
 * for as long as the process lives.
 */
export class OperationNames {
  private readonly known = new Set<string>();

  /**
   * The label of an operation. Once there are {@link MAX_NAMES} names, all others are `other`.
   * @param mayAdd whether the caller may use up one of the names
   */
  labelOf(name: string | undefined, mayAdd: boolean): string {
    if (name === undefined) return ANONYMOUS;
    if (this.known.has(name)) return name;
    if (!mayAdd || this.known.size >= MAX_NAMES || name.length > MAX_CHARACTERS) return OTHER;
    // A substring of a document keeps the whole document in memory.
    const copy = Buffer.from(name).toString();
    this.known.add(copy);
    return copy;
  }
}
