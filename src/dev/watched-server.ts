import 'reflect-metadata';

import { processEnvironment } from '../config.js';
import { closeAll, stopOnSignal, type Closer } from './closers.js';
import { serveDemoData } from './development-server.js';

/**
 * The server of `npm run dev`, without its own services. Reports its address to its parent, and ends with the parent.
 */
const closers: Closer[] = [];
const starting = serveDemoData(processEnvironment(), closers, console.log);
const stop = async (): Promise<void> => {
  await starting.catch(() => undefined);
  await closeAll(closers);
};
stopOnSignal(stop);
process.on('disconnect', () => void stop().finally(() => process.exit(0)));

try {
  process.send?.(await starting);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
