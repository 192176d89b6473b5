import * as fc from 'fast-check';

/**
 * Decisions of a generator, taken from a list of numbers. After the end of the list every decision is 0, and 0 is the
 * simplest decision everywhere, so a shorter list or smaller numbers generate simpler requests.
 */
export class Choices {
  private position = 0;

  constructor(private readonly numbers: readonly number[]) {}

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return (this.numbers[this.position++] ?? 0) % limit;
  }

  /** True in this many of 100 cases. */
  chance(percent: number): boolean {
    return this.below(100) >= 100 - percent;
  }

  pick<Option>(options: readonly Option[]): Option {
    return options[this.below(options.length)] as Option;
  }

  /** One of the options, each as often as its weight says. */
  weighted<Option>(options: readonly (readonly [weight: number, option: Option])[]): Option {
    let left = this.below(options.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, option] of options) {
      if (left < weight) return option;
      left -= weight;
    }
    throw new Error('There must be an option of positive weight');
  }
}

/** Lists of decisions, of any length up to `maxLength`. fast-check's own arrays are several times slower. */
export const choiceLists = (maxLength: number): fc.Arbitrary<number[]> => new ChoiceLists(maxLength);

class ChoiceLists extends fc.Arbitrary<number[]> {
  constructor(private readonly maxLength: number) {
    super();
  }

  override generate(random: fc.Random): fc.Value<number[]> {
    let state = random.nextInt();
    const list = Array.from({ length: random.nextInt(0, this.maxLength) }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
      return state >>> 16;
    });
    return new fc.Value(list, undefined);
  }

  override canShrinkWithoutContext(value: unknown): value is number[] {
    return Array.isArray(value);
  }

  override shrink(list: number[]): fc.Stream<fc.Value<number[]>> {
    return fc.stream(smaller(list)).map((each) => new fc.Value(each, undefined));
  }
}

/** Lists that are shorter, or as long with a smaller number; the smallest first. */
function* smaller(list: readonly number[]): IterableIterator<number[]> {
  for (let size = list.length; size >= 1; size = Math.floor(size / 2)) {
    for (let at = list.length - size; at >= 0; at -= size) yield list.toSpliced(at, size);
  }
  for (const [at, number] of list.entries()) {
    for (const less of new Set([0, 1, 2, 3, number >> 1])) {
      if (less < number) yield list.with(at, less);
    }
  }
}
