import { setTimeout as pause } from 'node:timers/promises';

/**
 * Calls `look` repeatedly until it neither throws nor returns false. For states that no promise announces; the time limit
 * only ends a test that would run for ever.
 */
export async function eventually<T>(
  look: () => T | Promise<T>,
  limitMs = 15_000,
): Promise<Exclude<T, false>> {
  const endsAt = performance.now() + limitMs;
  for (;;) {
    try {
      const seen = await look();
      if (seen !== false) return seen as Exclude<T, false>;
      if (performance.now() > endsAt) throw new Error(`Not so within ${limitMs} ms: ${look.toString()}`);
    } catch (error) {
      if (performance.now() > endsAt) throw error;
    }
    await pause(10);
  }
}
