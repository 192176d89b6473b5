import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceLog } from './service-log.js';

/** Pause between two looks at a service that is starting or ending, in milliseconds. */
export const POLL_MS = 20;

/** A program with what it needs to be started. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** The account to run as; only root can ask for one. */
  readonly account?: { readonly uid: number; readonly gid: number };
}

/** What a finished command left behind; `code` is null where a signal or the time limit ended it. */
export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Tells one process from every other that has or will have the same pid: its start time, within this boot.
 *
 * @returns undefined when there is no such process, or only a zombie that no parent has collected (process 1 of
 * a container often collects none)
 */
export function processIdentity(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const state = fields[0];
      const startTicks = fields[19];
      if (state === 'Z' || state === 'X' || startTicks === undefined) return undefined;
      return `${bootId()}/${startTicks}`;
    } catch {
      return undefined;
    }
  }
  try {
    if (process.platform === 'win32') {
      process.kill(pid, 0);
      return 'running';
    }
    const row = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
    if (row === '' || row.startsWith('Z')) return undefined;
    return row.replace(/^\S+\s+/, '');
  } catch {
    return undefined;
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}

/** The command line of a process as separate words (split at spaces outside Linux), or [] if it is not visible. */
export function commandLine(pid: number): readonly string[] {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    if (process.platform === 'win32') return [];
    return execFileSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .trim()
      .split(' ');
  } catch {
    return [];
  }
}

/** A process that is known to be ours. It is never signalled after it ended, even if its pid is in use again. */
export class OwnedProcess {
  private constructor(
    readonly pid: number,
    readonly identity: string,
  ) {}

  /** The process that has this pid now, or undefined if there is none. */
  static now(pid: number): OwnedProcess | undefined {
    const identity = processIdentity(pid);
    return identity === undefined ? undefined : new OwnedProcess(pid, identity);
  }

  /** The process recorded earlier as `pid` and `identity`, or undefined if it has ended. */
  static recorded(pid: number, identity: string): OwnedProcess | undefined {
    return processIdentity(pid) === identity ? new OwnedProcess(pid, identity) : undefined;
  }

  isRunning(): boolean {
    return processIdentity(this.pid) === this.identity;
  }

  /**
   * Sends a signal if the process still runs.
   *
   * @throws if the operating system refuses it (EPERM: the process belongs to another account)
   */
  signal(signal: NodeJS.Signals): void {
    if (!this.isRunning()) return;
    try {
      process.kill(this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Waits at most `timeoutMs` milliseconds; true if the process has ended by then. */
  async waitForExit(timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (this.isRunning()) {
      if (performance.now() >= deadline) return false;
      await delay(POLL_MS / 2);
    }
    return true;
  }

  /**
   * Sends each signal in turn, giving the process `waitMs` milliseconds to end before the next one.
   *
   * @throws if the process outlives them all
   */
  async end(steps: readonly { readonly signal: NodeJS.Signals; readonly waitMs: number }[]): Promise<void> {
    for (const { signal, waitMs } of steps) {
      this.signal(signal);
      if (await this.waitForExit(waitMs)) return;
    }
    throw new Error(
      `Process ${this.pid} did not end, not even after ${steps.at(-1)?.signal ?? 'no signal'}.`,
    );
  }
}

/**
 * Starts a server in a process group of its own, so that Ctrl-C in a terminal reaches its owner alone, and lets
 * node end while it runs. Its output goes to `log`.
 *
 * @throws if the program cannot be started, or ended before it could be looked at
 */
export async function spawnService(command: Command, log: ServiceLog): Promise<OwnedProcess> {
  const child = spawn(command.command, command.args, {
    ...spawnOptions(command),
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  // Without a listener a later error (a signal that is refused) would end the whole program.
  child.on('error', () => undefined);
  child.unref();
  const owned = child.pid === undefined ? undefined : OwnedProcess.now(child.pid);
  if (owned === undefined) throw new Error(`${command.command} ended at once.\n${log.tail()}`);
  return owned;
}

/**
 * Runs a command to its end, `timeoutMs` milliseconds at most, and collects what it writes.
 *
 * @throws if the program cannot be started; an exit code other than 0 is for the caller to judge
 */
export function runCommand(
  command: Command,
  { input = '', timeoutMs }: { readonly input?: string; readonly timeoutMs: number },
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command.command, command.args, {
      ...spawnOptions(command),
      stdio: 'pipe',
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
    // A command that ends without reading its input makes the pipe fail; its exit code tells the story.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** What a failed command has to say for itself: the last lines of its error output, or else of its output. */
export function describeFailure({ code, stdout, stderr }: CommandResult): string {
  const text = (stderr.trim() === '' ? stdout : stderr).trim().split('\n').slice(-12).join('\n');
  const how = code === null ? 'was ended by a signal or its time limit' : `ended with exit code ${code}`;
  return text === '' ? how : `${how}:\n${text}`;
}

function spawnOptions({ env, cwd, account }: Command): {
  env: NodeJS.ProcessEnv;
  cwd?: string;
  uid?: number;
  gid?: number;
} {
  return { env: { ...env }, ...(cwd === undefined ? {} : { cwd }), ...account };
}
