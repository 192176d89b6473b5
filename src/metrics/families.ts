import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Upper bounds of the buckets of every latency, in seconds: from 100 µs to 10 s. */
export const LATENCY_BUCKETS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/** Makes families of metrics, all in one registry. */
export class Families {
  readonly registry = new Registry();
  private readonly registers = [this.registry];

  counter<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[] = [],
  ): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: this.registers });
  }

  /**
   * A counter with one label whose values are known. Each series is there from the start, because `increase()` does not
   * see the step from nothing to the first event.
   */
  counterOf<Value extends string>(
    name: string,
    help: string,
    label: string,
    values: readonly Value[],
  ): (value: Value, count?: number) => void {
    const counter = this.counter(name, help, [label]);
    const add = (value: Value, count = 1): void => counter.labels(value).inc(count);
    for (const value of values) add(value, 0);
    return add;
  }

  /** A histogram of latencies in seconds. */
  latency<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[] = [],
  ): Histogram<Label> {
    return new Histogram({ name, help, labelNames, buckets: LATENCY_BUCKETS, registers: this.registers });
  }

  gauge<Label extends string>(name: string, help: string, labelNames: readonly Label[] = []): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: this.registers });
  }

  /** A gauge whose series are read when the metrics are read. */
  readGauges(name: string, help: string, labelNames: readonly string[], read: LabelledValues): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers: this.registers,
      collect() {
        for (const [labels, value] of read()) this.set(labels, value);
      },
    });
  }

  /** A gauge whose value is read when the metrics are read. */
  readGauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: this.registers,
      collect() {
        this.set(read());
      },
    });
  }
}

/** A value of each label at the time when the metrics are read. */
export type LabelledValues = () => Iterable<
  readonly [labels: Readonly<Record<string, string>>, value: number]
>;

/** Remembers the series of a pair of labels: looking a series up by its labels costs more than counting. */
export function remembered<Series>(
  make: (first: string, second: string) => Series,
): (first: string, second?: string) => Series {
  const made = new Map<string, Map<string, Series>>();
  return (first, second = '') => {
    let bySecond = made.get(first);
    if (!bySecond) made.set(first, (bySecond = new Map()));
    let series = bySecond.get(second);
    if (!series) bySecond.set(second, (series = make(first, second)));
    return series;
  };
}
