import { execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

import type { Command } from './commands.js';

/** The pause between two checks of a process that is starting or ending (ms). */
export const POLL_MS = 20;

/** How long a process may take to end after a signal (ms). */
const END_MS = 10_000;

/** Identifies a process among all that ever have its pid, by its start time; undefined if it has ended, as zombies have. */
export function processIdentity(pid: number): string | undefined {
  try {
    if (process.platform === 'linux') {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // The second field is the program's name in parentheses, and may itself contain spaces and parentheses.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
      return fields[0] === 'Z' || fields[0] === 'X' ? undefined : `${boot}/${fields[19]}`;
    }
    const row = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
    return row.startsWith('Z') ? undefined : row.replace(/^\S+\s+/, '');
  } catch {
    return undefined;
  }
}

/** A process that this program started. It never gets a signal after its end, even if its pid is in use again. */
export class OwnedProcess {
  private constructor(
    readonly pid: number,
    readonly identity: string,
  ) {}

  /** The process recorded earlier as `pid` and `identity`; undefined if it has ended. */
  static recorded(pid: number, identity: string): OwnedProcess | undefined {
    return processIdentity(pid) === identity ? new OwnedProcess(pid, identity) : undefined;
  }

  /**
   * Starts a program in its own process group, so that Ctrl-C in a terminal reaches only its owner. It continues to
   * run when this process ends. Its output is appended to a file.
   * @throws Error if the program cannot be started, or ends at once
   */
  static async spawn({ command, args, env, cwd, account }: Command, logFile: string): Promise<OwnedProcess> {
    const output = openSync(logFile, 'a', 0o600);
    try {
      const child = spawn(command, args, {
        env,
        cwd,
        ...account,
        detached: true,
        stdio: ['ignore', output, output],
      });
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
      // Without a listener, a later error (such as a refused signal) would end this process.
      child.on('error', () => undefined);
      child.unref();
      const { pid = 0 } = child;
      const identity = processIdentity(pid);
      if (identity === undefined) throw new Error(`${command} ended at once; see ${logFile}`);
      return new OwnedProcess(pid, identity);
    } finally {
      closeSync(output);
    }
  }

  isRunning(): boolean {
    return processIdentity(this.pid) === this.identity;
  }

  /** Sends a signal if the process still runs. @throws if the operating system refuses it (EPERM) */
  signal(signal: NodeJS.Signals): void {
    if (!this.isRunning()) return;
    try {
      process.kill(this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Sends each signal in turn until the process has ended, which may take 10 s each. @throws Error if it survives them all */
  async end(signals: readonly NodeJS.Signals[]): Promise<void> {
    for (const signal of signals) {
      this.signal(signal);
      const deadline = performance.now() + END_MS;
      while (this.isRunning() && performance.now() < deadline) await pause(POLL_MS / 2);
      if (!this.isRunning()) return;
    }
    throw new Error(`Process ${this.pid} does not end, not even after ${signals.at(-1)}`);
  }
}
