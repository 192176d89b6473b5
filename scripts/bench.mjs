import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, statSync, symlinkSync } from 'node:fs';

/**
 * `npm run bench [-- PROGRAM] [-- OPTIONS]`: compiles and runs `bench/PROGRAM.ts`, by default `bench/run.ts`. The peers
 * are a package of their own, installed at the first use and whenever its lock file has changed.
 */
const [first, ...others] = process.argv.slice(2);
const hasProgram = first !== undefined && !first.startsWith('-');
const program = hasProgram ? first : 'run';
const options = hasProgram || first === undefined ? others : [first, ...others];

if (!existsSync(`bench/${program}.ts`)) {
  console.error(`There is no program bench/${program}.ts.`);
  process.exit(2);
}
if (!isInstalled()) run('npm', ['ci', '--prefix', 'bench']);
run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'bench/tsconfig.json']);
linkPeers();
process.exit(runToEnd(process.execPath, [`dist-bench/bench/${program}.js`, ...options]));

/** npm writes `.package-lock.json` at the end of an install. */
function isInstalled() {
  const written = statSync('bench/node_modules/.package-lock.json', { throwIfNoEntry: false });
  return written !== undefined && written.mtimeMs >= statSync('bench/package-lock.json').mtimeMs;
}

/** The compiled benchmark finds the peers, and the compiled server beside it finds only the root's packages. */
function linkPeers() {
  mkdirSync('dist-bench/bench', { recursive: true });
  rmSync('dist-bench/bench/node_modules', { force: true });
  symlinkSync('../../bench/node_modules', 'dist-bench/bench/node_modules', 'junction');
}

function run(command, args) {
  const status = runToEnd(command, args);
  if (status !== 0) process.exit(status);
}

function runToEnd(command, args) {
  const { status, signal, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (error) console.error(error.message);
  if (signal) console.error(`${command} was ended by ${signal}.`);
  return status ?? 1;
}
