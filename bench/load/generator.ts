import { runAlternate } from './alternate.js';
import { runBurst, runLoad } from './closed-loop.js';
import { runPaced } from './paced.js';
import { runStaleReads } from './stale-reads.js';
import type { Tasks } from './tasks.js';

type Runners = { [Kind in keyof Tasks]: (task: Tasks[Kind]['task']) => Promise<Tasks[Kind]['result']> };

const RUNNERS: Runners = {
  load: runLoad,
  paced: runPaced,
  burst: runBurst,
  alternate: runAlternate,
  stale: runStaleReads,
};

/** The load generator, a process of its own: runs one task at a time for the harness. */
process.on('message', ({ kind, task }: { kind: keyof Tasks; task: never }) => {
  const run: (task: never) => Promise<unknown> = RUNNERS[kind];
  run(task).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ failure: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
