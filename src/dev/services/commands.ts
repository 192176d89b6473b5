import { execFile } from 'node:child_process';

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
  PATH: process.env['PATH'] ?? '',
  LC_ALL: 'C',
  TZ: 'UTC',
});

/**
 * Runs a command to its end and returns its output.
 * @throws Error with its last lines, if it fails or takes longer than `timeoutMs`
 */
export async function runCommand(
  { command, args, env, cwd, account }: Command,
  { input = '', timeoutMs = 60_000 }: { readonly input?: string; readonly timeoutMs?: number } = {},
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return await new Promise((resolve, reject) => {
    const options = { env, cwd, ...account, timeout: timeoutMs, maxBuffer: 16 * 1_048_576 };
    const child = execFile(command, args, options, (error, stdout, stderr) => {
      if (!error) return resolve({ stdout, stderr });
      const lines = (stderr.trim() === '' ? stdout : stderr).trim().split('\n').slice(-12).join('\n');
      const how = error.killed === true ? `did not end within ${timeoutMs} ms` : 'has failed';
      return reject(new Error(`${command} ${how}: ${lines === '' ? error.message : lines}`));
    });
    // If a command ends without reading its input, the pipe fails; the exit code reports the failure.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}
