import { setImmediate as turn } from 'node:timers/promises';

import type { Scheduler } from './steps.js';

/**
 * Takes steps until a promise has settled. Between two steps, one turn of the event loop runs all microtasks. (The
 * scheduler's own `waitFor` waits for fifty microtasks after each step, which would take most of the time.)
 * @param observe called before each step, when nothing else can happen
 */
export async function drive<T>(
  scheduler: Scheduler,
  goal: Promise<T>,
  observe: () => void = () => {},
): Promise<T> {
  const state = { isSettled: false };
  const settle = () => {
    state.isSettled = true;
  };
  goal.then(settle, settle);
  for (await turn(); !state.isSettled; await turn()) {
    observe();
    await scheduler.waitOne();
  }
  return await goal;
}

/** Takes all remaining steps, including those that they schedule. */
export async function driveOut(scheduler: Scheduler, observe: () => void = () => {}): Promise<void> {
  for (await turn(); scheduler.count() > 0; await turn()) {
    observe();
    await scheduler.waitOne();
  }
}
