import 'reflect-metadata';

import { ConfigError, processEnvironment } from '../config.js';
import { closeAll, stopOnSignal, type Closer } from './closers.js';
import { serveDemoData } from './development-server.js';
import { bringUpServices } from './development-services.js';
import { introduction } from './introduction.js';

const startedAt = performance.now();
const say = (line: string): void =>
  console.log(`[${((performance.now() - startedAt) / 1_000).toFixed(1)} s] ${line}`);

/** `npm start`: starts the services that the development server needs in the data folder, and serves the demo data. */
async function main(): Promise<void> {
  const closers: Closer[] = [];
  let interrupted = false;
  const start = async (): Promise<void> => {
    const services = await bringUpServices(processEnvironment(), closers, say);
    if (interrupted) return;
    const { url, token } = await serveDemoData(services.environment, closers, say);
    if (interrupted) return;
    say(`Ready: ${url}`);
    console.log(introduction({ url, token, ...services }));
  };
  const starting = start();
  // Registered first, because services outlive this process: those that are being started are awaited and stopped.
  stopOnSignal(async () => {
    interrupted = true;
    await starting.catch(() => undefined);
    await closeAll(closers);
  });
  try {
    await starting;
  } catch (error) {
    if (interrupted) return;
    await closeAll(closers);
    throw error;
  }
}

main().catch((error: unknown) => {
  const isExpected = error instanceof ConfigError || (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
  console.error(isExpected || !(error instanceof Error) ? (error as Error).message : error.stack);
  process.exit(1);
});
