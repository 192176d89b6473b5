import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { startCompiler } from './compiler.mjs';
import { endWithNpm } from './end-with-npm.mjs';

/**
 * `npm run dev`: compiles on every change and restarts the server, and nothing else: PostgreSQL, Redis and all ports stay.
 * While something does not compile, the last server that did goes on.
 */

/** A server that has not ended this long (ms) after it was asked to is killed. */
const MAX_STOP_MS = 5_000;

/** How to close what has been brought up; see `src/dev/closers.ts`. */
const closers = [];
let compiler;
let services;
let server;
let isIntroduced = false;
let isRestartDue = false;
let stopping;
let work = Promise.resolve();

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stop(0));
endWithNpm();

console.log('Compiling (about ten seconds the first time)');
// In process groups of their own, the compiler and the server do not see Ctrl-C: they are ended here, in order.
compiler = await startCompiler(['--watch', '--preserveWatchOutput', '--noEmitOnError'], {
  stdio: ['ignore', 'pipe', 'inherit'],
  detached: true,
});
compiler.on('exit', (code) => {
  if (stopping) return;
  console.error(`The compiler has ended with ${code}.`);
  stop(1);
});
createInterface({ input: compiler.stdout }).on('line', (line) => {
  const [, errors] = /Found (\d+) errors?\. Watching for file changes/.exec(line) ?? [];
  if (errors === undefined) console.log(line);
  else if (Number(errors) === 0) scheduleRestart();
  else if (server) console.log('This does not compile: the server of before goes on.');
  else console.log('This does not compile: correct it, and the server starts.');
});

/** One restart at a time; what is compiled meanwhile is one more. */
function scheduleRestart() {
  if (isRestartDue || stopping) return;
  isRestartDue = true;
  work = work.then(restart).catch((error) => {
    console.error(error.message);
    stop(1);
  });
}

async function restart() {
  isRestartDue = false;
  if (stopping) return;
  services ??= await bringUp();
  await endServer();
  if (stopping) return;
  const startedAt = performance.now();
  const child = fork('dist/dev/watched-server.js', {
    env: { ...process.env, ...services.environment },
    execArgv: ['--enable-source-maps'],
    detached: true,
  });
  server = child;
  child.on('message', (ready) => announce(ready, performance.now() - startedAt));
  child.on('exit', (code, signal) => {
    if (server !== child) return;
    server = undefined;
    if (!stopping)
      console.error(`The server has ended with ${signal ?? code}: it starts again after a change.`);
  });
}

async function bringUp() {
  const [{ bringUpServices }, { processEnvironment }] = await Promise.all([
    import('../dist/dev/development-services.js'),
    import('../dist/config.js'),
  ]);
  return await bringUpServices(processEnvironment(), closers, console.log);
}

async function announce({ url, token }, milliseconds) {
  if (isIntroduced) {
    console.log(`Restarted in ${(milliseconds / 1_000).toFixed(1)} s`);
    return;
  }
  isIntroduced = true;
  // A port that was free is kept, so that clients find the next server.
  services.environment.PORT = new URL(url).port;
  const { introduction } = await import('../dist/dev/introduction.js');
  console.log(introduction({ url, token, ...services }));
}

async function endServer() {
  const child = server;
  if (!child) return;
  server = undefined;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), MAX_STOP_MS);
  await exited;
  clearTimeout(timer);
}

/** Stops once, however many signals come. What is being brought up is waited for, and stopped as well. */
function stop(code) {
  stopping ??= (async () => {
    compiler?.kill('SIGTERM');
    await work.catch(() => undefined);
    await endServer();
    if (closers.length > 0) {
      const { closeAll } = await import('../dist/dev/closers.js');
      await closeAll(closers);
    }
    process.exit(code);
  })();
}
