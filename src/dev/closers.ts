import { setTimeout as pause } from 'node:timers/promises';

/** Ends something that was started. */
export type Closer = () => Promise<void>;

/** A request that is still under way after this long (ms) is cut off: a developer waits for the prompt. */
const MAX_CLOSE_MS = 3_000;

/** Closes in the reverse order of starting, and goes on where one fails, so that nothing is left running. */
export async function closeAll(closers: Closer[]): Promise<void> {
  for (const close of closers.splice(0).toReversed()) {
    await close().catch((error: unknown) => console.error(error));
  }
}

/** As the closer given, but waits for it for three seconds only. */
export const briefly = (close: Closer) => async (): Promise<void> =>
  await Promise.race([close(), pause(MAX_CLOSE_MS, undefined, { ref: false })]);

/**
 * Stops once, however many signals come: Ctrl-C reaches a program through the terminal and through npm, and whoever is
 * ended by the second one leaves PostgreSQL and Redis running. A closed terminal counts as a signal.
 */
export function stopOnSignal(stop: () => Promise<void>): void {
  let stopping = false;
  const onSignal = () => {
    if (stopping) return;
    stopping = true;
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
}
