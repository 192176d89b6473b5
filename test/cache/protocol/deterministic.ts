import { seededRandom } from './seeded-scheduler.js';

/**
 * Runs `use` with clocks and random numbers that depend on the seed only. Tokens of generations stay random, but no order
 * depends on them.
 */
export async function deterministic<T>(seed: number, use: () => Promise<T>): Promise<T> {
  const { random } = Math;
  const { now: date } = Date;
  const clock = performance.now;
  let ticks = 0;
  Math.random = seededRandom(seed);
  Date.now = () => 0;
  // A log that was read within two seconds is current, and each scenario takes fewer ticks than that.
  performance.now = () => (ticks += 0.001);
  try {
    return await use();
  } finally {
    Math.random = random;
    Date.now = date;
    performance.now = clock;
  }
}
