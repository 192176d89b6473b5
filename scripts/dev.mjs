import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

/** `npm run dev`: compiles on every change, and restarts the server when a compilation has written something. */
const children = [
  spawn(
    process.execPath,
    ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--watch', '--preserveWatchOutput'],
    {
      stdio: 'inherit',
      detached: true,
    },
  ),
];
const stop = () => {
  for (const child of children) {
    try {
      // The compiler's launcher runs a native program: both are in one process group.
      process.kill(-child.pid, 'SIGTERM');
    } catch {
      // It has ended already.
    }
  }
};
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop);

while (!existsSync('dist/dev/start.js')) await pause(100);
const server = spawn(process.execPath, ['--watch', '--enable-source-maps', 'dist/dev/start.js'], {
  stdio: 'inherit',
  detached: true,
});
children.push(server);
server.on('exit', (code) => {
  stop();
  process.exit(code ?? 0);
});
