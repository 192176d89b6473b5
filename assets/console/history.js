/** How far back the charts reach. */
export const SPAN_MS = 5 * 60_000;
/** The time that current rates are counted over. */
const RECENT_MS = 30_000;

/** The states of one process that this page has seen. */
export class History {
  states = [];
  /** When the last state arrived, by the clock of this page (ms). */
  arrivedAt = 0;

  add(state) {
    this.arrivedAt = performance.now();
    this.states.push(state);
    const oldest = state.at - SPAN_MS;
    while (this.states[0].at < oldest) this.states.shift();
  }

  get last() {
    return this.states.at(-1);
  }

  /** The states to compare for current rates; undefined while there is only one. */
  get recent() {
    if (this.states.length < 2) return undefined;
    const from = this.last.at - RECENT_MS;
    const first = this.states.find(({ at }) => at >= from);
    return { before: first === this.last ? this.states.at(-2) : first, after: this.last };
  }

  /** What `read` makes of each two states that follow each other. */
  points(read) {
    return this.states.slice(1).map((after, i) => {
      const before = this.states[i];
      return { at: after.at, values: read({ before, after }) };
    });
  }
}

/** How much a count grew; `countOf` reads it from a state. */
export function growth({ before, after }, countOf) {
  return Math.max(0, (countOf(after) ?? 0) - (countOf(before) ?? 0));
}

export function rate(step, countOf) {
  const seconds = (step.after.at - step.before.at) / 1_000;
  return seconds > 0 ? growth(step, countOf) / seconds : undefined;
}

export const sum = (counts) => Object.values(counts ?? {}).reduce((total, each) => total + each, 0);

/** The share of `part` in `part` and `rest`; undefined if there is neither. */
export const share = (part, rest) => (part + rest > 0 ? part / (part + rest) : undefined);

/**
 * The time within which a share of the observations of a step ended, read from the buckets of a histogram; undefined
 * if there are none.
 */
export function quantile(step, bounds, latencyOf, wanted) {
  const total = growth(step, (state) => latencyOf(state)?.count);
  if (total === 0) return undefined;
  const rank = wanted * total;
  const upTo = bounds.map((_, i) => growth(step, (state) => latencyOf(state)?.upTo[i]));
  const bucket = upTo.findIndex((observed) => observed >= rank);
  if (bucket < 0) return bounds.at(-1);
  const [below, lower] = bucket === 0 ? [0, 0] : [upTo[bucket - 1], bounds[bucket - 1]];
  const within = upTo[bucket] - below;
  return lower + (bounds[bucket] - lower) * (within > 0 ? (rank - below) / within : 1);
}
