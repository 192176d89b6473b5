import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Loaded before a server: on SIGUSR2 it collects garbage, and writes how much of the heap is in use. */
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');

process.on('SIGUSR2', () => {
  // Weak references and finalizers need a second collection, in another turn.
  collectGarbage();
  setTimeout(() => {
    collectGarbage();
    process.stderr.write(`HEAP ${process.memoryUsage().heapUsed}\n`);
  }, 100);
});
