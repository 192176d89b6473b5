import { existsSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/**
 * `node scripts/run-built.mjs dist/x.js …`: runs a compiled program of this folder. It is compiled anew where the sources
 * and the compiler are; an image has neither.
 */
const [entry = '', ...args] = process.argv.slice(2);
const compiler = 'node_modules/typescript/bin/tsc';
if (existsSync('src') && existsSync(compiler)) {
  const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) process.exit(1);
}
if (!existsSync(entry)) {
  console.error('The server is not compiled. Run npm run build first.');
  process.exit(1);
}
const file = path.resolve(entry);
process.argv = [process.argv[0], file, ...args];
await import(pathToFileURL(file).href);
