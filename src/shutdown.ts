import { setTimeout as pause } from 'node:timers/promises';

import type { Logger } from './logger.js';

/** A close that takes longer than this is cut off (ms). It is longer than the requests under way may take. */
const MAX_CLOSE_MS = 15_000;

/** A server that can be stopped. */
export interface Stoppable {
  /** How long to wait until balancers send no more requests (ms). */
  readonly delayMs: number;
  /** Tells balancers to send no more requests. */
  drain(): void;
  close(): Promise<void>;
}

/**
 * Closes once on SIGTERM or SIGINT and exits: with 0, or with 1 if closing failed or a second signal came.
 * @param running returns the server; undefined while it starts, when there is nothing to close
 */
export function closeOnSignal(log: Logger, running: () => Stoppable | undefined): void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping) process.exit(1);
    stopping = true;
    const server = running();
    const delayMs = server?.delayMs ?? 0;
    log.info({ signal, delayMs }, 'Stopping');
    setTimeout(() => {
      log.error('Could not stop in time');
      process.exit(1);
    }, delayMs + MAX_CLOSE_MS).unref();
    stop(server).then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, 'Could not stop cleanly');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

async function stop(server: Stoppable | undefined): Promise<void> {
  if (!server) return;
  server.drain();
  if (server.delayMs > 0) await pause(server.delayMs);
  await server.close();
}
