import { setImmediate as turn } from 'node:timers/promises';
import type * as fc from 'fast-check';

/**
 * Takes steps, one after the other, until a promise has settled. Between two steps everything runs that can: a turn of
 * the event loop leaves no microtask behind. (The scheduler's own `waitFor` counts fifty of them after each step, which
 * takes most of the time of a run.)
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

/** Takes all steps that are left, those included that they lead to. */
export async function driveOut(scheduler: fc.Scheduler): Promise<void> {
  for (await turn(); scheduler.count() > 0; await turn()) await scheduler.waitOne();
}
