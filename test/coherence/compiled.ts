import { execFile } from 'node:child_process';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

/** Where this folder is when it is compiled; see `tsconfig.json`. */
const FOLDER = 'dist-test/test/coherence';

/** Compiles this folder, for the modules that servers import: a server runs JavaScript. */
export async function compile(): Promise<void> {
  const compiler = 'node_modules/typescript/bin/tsc';
  await promisify(execFile)(process.execPath, [compiler, '-p', 'test/coherence/tsconfig.json']);
}

/** The URL of a compiled module of this folder, for a server to import. */
export const moduleUrl = (name: string): string => pathToFileURL(path.resolve(FOLDER, `${name}.js`)).href;
