import { Presets, SingleBar } from 'cli-progress';

/** Shows how far long work is, on a terminal; elsewhere it shows nothing. */
export interface Progress {
  /** @param total of the whole work; it may be a guess */
  start(total: number): void;
  advance(count: number): void;
  stop(): void;
}

/** A bar on the standard error stream, so that the standard output holds the result alone. */
export function progressBar(unit: string): Progress {
  const bar = new SingleBar(
    {
      format: `{bar} {percentage}% | {value}/{total} ${unit} | {eta_formatted} left`,
      hideCursor: true,
      stopOnComplete: false,
    },
    Presets.shades_classic,
  );
  return {
    start: (total) => bar.start(total, 0),
    advance: (count) => bar.increment(count),
    stop: () => bar.stop(),
  };
}
