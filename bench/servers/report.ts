/** The counts of a server process, for the harness. */
export interface Counters {
  /** SQL statements sent through the pool. */
  readonly statements: number;
  readonly hits: number;
  readonly misses: number;
}

/** The messages of a server process to the harness. */
export type ServerMessage =
  | { readonly kind: 'listening'; readonly url: string }
  | { readonly kind: 'counters'; readonly counters: Counters };

/** Counts in a server process, and reports to the harness on request. */
export class Tally implements Counters {
  statements = 0;
  hits = 0;
  misses = 0;

  readonly onStatement = (): void => {
    this.statements++;
  };
  readonly onHit = (): void => {
    this.hits++;
  };
  readonly onMiss = (): void => {
    this.misses++;
  };

  /** Reports the server's URL to the harness, answers its requests, and ends the process when the harness exits. */
  announce(url: string): void {
    const send = (message: ServerMessage) => process.send?.(message);
    process.on('message', () => {
      const { statements, hits, misses } = this;
      send({ kind: 'counters', counters: { statements, hits, misses } });
    });
    process.on('disconnect', () => process.exit(0));
    process.on('SIGTERM', () => process.exit(0));
    send({ kind: 'listening', url });
  }
}
