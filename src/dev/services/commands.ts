import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { processEnvironment } from '../../config.js';

/** A program with what it needs to be started. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string | undefined;
  /** The account to run as; only root can ask for one. */
  readonly account?: { readonly uid: number; readonly gid: number } | undefined;
}

/** What programs get of our environment; messages are matched in English. */
export const minimalEnvironment = (): Record<string, string> => ({
  PATH: processEnvironment().PATH ?? '',
  LC_ALL: 'C',
  TZ: 'UTC',
});

/** Runs a command to its end and returns what it writes. @throws Error with its output, if it fails or takes too long */
export async function runCommand(
  { command, args, env, cwd, account }: Command,
  { input = '', timeoutMs = 60_000 }: { readonly input?: string; readonly timeoutMs?: number } = {},
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const options = { env, cwd, ...account, timeout: timeoutMs, maxBuffer: 16 * 1_048_576 };
  const running = promisify(execFile)(command, [...args], options);
  // A command that ends without reading its input makes the pipe fail; its exit code tells the story.
  running.child.stdin?.on('error', () => undefined).end(input);
  return await running;
}
