import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { processEnvironment } from '../../config.js';

/** A program, and everything needed to start it. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string | undefined;
  /** The account to run as; only root can choose one. */
  readonly account?: { readonly uid: number; readonly gid: number } | undefined;
}

/** The environment of started programs. The locale is C, because their messages are matched in English. */
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
  // If a command ends without reading its input, the pipe fails; the exit code reports the failure.
  running.child.stdin?.on('error', () => undefined).end(input);
  return await running;
}
