import { once } from 'node:events';

import { startCompiler } from './compiler.mjs';
import { endWithNpm } from './end-with-npm.mjs';

/** `npm start`: compiles, and runs the development server in this process. */
endWithNpm();
console.log('Compiling (about ten seconds the first time)');
const compiler = await startCompiler([], { stdio: ['ignore', 'inherit', 'inherit'] });
const stop = (signal) => {
  compiler.kill(signal);
  process.exit(1);
};
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
for (const signal of signals) process.on(signal, stop);
const [code] = await once(compiler, 'exit');
for (const signal of signals) process.off(signal, stop);
if (code !== 0) process.exit(code ?? 1);

process.setSourceMapsEnabled(true);
await import('../dist/dev/start.js');
