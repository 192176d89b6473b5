import type { Logger } from './logger.js';

/** A close that takes longer than this is cut off (ms). */
const LONGEST_CLOSE_MS = 10_000;

/** Closes once on SIGTERM or SIGINT and exits: with 0, or with 1 if closing failed or a second signal came. */
export function closeOnSignal(log: Logger, close: () => Promise<void>): void {
  let closing = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (closing) process.exit(1);
    closing = true;
    log.info({ signal }, 'Stopping');
    setTimeout(() => {
      log.error('Could not stop in time');
      process.exit(1);
    }, LONGEST_CLOSE_MS).unref();
    close().then(
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
