import { setImmediate as turn } from 'node:timers/promises';
import type * as fc from 'fast-check';

/**
 * Takes steps until a promise has settled. Between two steps, one turn of the event loop runs all microtasks. (The
 * scheduler's own `waitFor` waits for fifty microtasks after each step, which would take most of the time.)
 */
export async function drive<T>(scheduler: fc.Scheduler, goal: Promise<T>): Promise<T> {
  const state = { isSettled: false };
  const settle = () => {
    state.isSettled = true;
  };
  goal.then(settle, settle);
  for (await turn(); !state.isSettled; await turn()) await scheduler.waitOne();
  return await goal;
}

/** Takes all remaining steps, including those that they schedule. */
export async function driveOut(scheduler: fc.Scheduler): Promise<void> {
  for (await turn(); scheduler.count() > 0; await turn()) await scheduler.waitOne();
}
