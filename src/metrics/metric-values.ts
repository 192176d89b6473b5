import type { Registry } from 'prom-client';

/** A value of a metric, with its labels. */
interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What a histogram of latencies has counted since the process started. */
export interface Latency {
  readonly count: number;
  readonly seconds: number;
  /** How many took at most as long as each of `LATENCY_BUCKETS`. */
  readonly upTo: readonly number[];
}

/** Reads single metrics. A read of all of them would reset the delays of the event loop that Prometheus gets. */
export class MetricValues {
  constructor(private readonly registry: Pick<Registry, 'getSingleMetric'>) {}

  /** The series of a metric; none if there is no such metric. */
  async series(name: string): Promise<readonly Series[]> {
    const metric = await this.registry.getSingleMetric(name)?.get();
    return (metric?.values ?? []) as readonly Series[];
  }

  /** The sum of all series of a metric. */
  async total(name: string): Promise<number> {
    return totalOf(await this.series(name));
  }

  /** The sums of a metric by one of its labels. */
  async totalsBy(name: string, label: string): Promise<Record<string, number>> {
    return totalsOf(await this.series(name), label);
  }

  /** The series of a metric by one of its labels. */
  async seriesBy(name: string, label: string): Promise<ReadonlyMap<string, readonly Series[]>> {
    const groups = new Map<string, Series[]>();
    for (const series of await this.series(name)) {
      const key = series.labels[label] ?? '';
      const group = groups.get(key);
      if (group) group.push(series);
      else groups.set(key, [series]);
    }
    return groups;
  }

  /** The latencies of a histogram, by the values of its labels. */
  async latencies(name: string): Promise<readonly (Latency & Pick<Series, 'labels'>)[]> {
    const found = new Map<
      string,
      { labels: Series['labels']; count: number; seconds: number; upTo: number[] }
    >();
    for (const series of await this.series(name)) {
      const { le, ...labels } = series.labels;
      const key = Object.values(labels).join(' ');
      let latency = found.get(key);
      if (!latency) found.set(key, (latency = { labels, count: 0, seconds: 0, upTo: [] }));
      const { metricName } = series as Series & { readonly metricName: string };
      if (metricName === `${name}_count`) latency.count = series.value;
      else if (metricName === `${name}_sum`) latency.seconds = series.value;
      else if (Number.isFinite(Number(le))) latency.upTo.push(series.value);
    }
    return [...found.values()];
  }
}

/** The sum of series. */
export const totalOf = (series: readonly Series[] = []): number =>
  series.reduce((sum, { value }) => sum + value, 0);

/** The sums of series by one of their labels. */
export function totalsOf(series: readonly Series[] | undefined, label: string): Record<string, number> {
  const totals: Record<string, number> = {};
  for (const { labels, value } of series ?? []) {
    const key = labels[label] ?? '';
    totals[key] = (totals[key] ?? 0) + value;
  }
  return totals;
}
