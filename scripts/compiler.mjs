import { spawn } from 'node:child_process';

/**
 * Starts the compiler's native program itself: its launcher leaves the program running when it is ended by a signal.
 * @returns the child process.
 */
export async function startCompiler(args, options) {
  let getExePath;
  try {
    ({ default: getExePath } = await import('../node_modules/typescript/lib/getExePath.js'));
  } catch {
    console.error('The packages are not installed. Run npm install first.');
    process.exit(1);
  }
  return spawn(getExePath(), ['-p', 'tsconfig.build.json', ...args], options);
}
