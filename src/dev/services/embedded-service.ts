import { constants } from 'node:fs';
import { access, mkdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import getPort from 'get-port';

import type { Command } from './commands.js';
import { withLock } from './lock.js';
import { OwnedProcess, POLL_MS } from './owned-process.js';

/** A server on 127.0.0.1. It runs until it is stopped or killed, even after this process has ended. */
export interface EmbeddedService {
  readonly port: number;
  readonly pid: number;
  /** Whether an earlier owner left it running. */
  readonly reused: boolean;
  /** Shuts the server down and waits for its end. Further calls have no effect. */
  stop(): Promise<void>;
  /** Ends the server with SIGKILL, as a crash would, and waits until it is gone. */
  kill(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

/** The differences between servers. */
export interface ServiceDescription {
  readonly name: string;
  /** The folder of its files, as {@link prepareFolder} returns it. */
  readonly dataDir: string;
  /** The settings that a running server must have been started with to be taken over. */
  readonly settings: readonly string[];
  /** Undefined: a free port. */
  readonly port?: number | undefined;
  /** Whether a server that was left running is taken over; if not, it is stopped. */
  readonly reuse: boolean;
  readonly command: (port: number) => Command;
  /** Whether the server with this pid answers on this port. */
  readonly answers: (port: number, pid: number) => Promise<boolean>;
  /** How long it may take until it answers (ms), including recovery and loading of its data. */
  readonly readyMs: number;
  /** Matches the output of a server that ended for a temporary reason, such as a port still in use. */
  readonly passing: RegExp;
  readonly stopSignals: readonly NodeJS.Signals[];
}

/** The record by which a running server is found again. */
interface State {
  readonly pid: number;
  readonly identity: string;
  readonly port: number;
  readonly settings: readonly string[];
}

const MAX_ATTEMPTS = 40;
const ATTEMPT_PAUSE_MS = 250;
const TAIL_LINES = 15;

/**
 * Creates the folder of a service if it is missing. Other accounts may pass through it, but not list it: a PostgreSQL
 * that root has started runs as another account.
 * @returns its real, absolute path
 * @throws Error if this account cannot write there
 */
export async function prepareFolder(folder: string): Promise<string> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o711 });
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return await realpath(folder);
  } catch (cause) {
    throw new Error(`Cannot write in ${folder}. Remove it, or set DATA_DIR to another folder.`, { cause });
  }
}

/**
 * Takes over the server that runs in a folder, or starts one.
 * @throws Error with the last lines of its log, if it cannot be started
 */
export async function startService(description: ServiceDescription): Promise<EmbeddedService> {
  const stateFile = path.join(description.dataDir, 'server.json');
  return await withLock(stateFile, async () => {
    const earlier = await takeOver(description, stateFile);
    if (earlier) return earlier;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await launch(description, stateFile);
      } catch (error) {
        if (attempt >= MAX_ATTEMPTS || !description.passing.test((error as Error).message)) throw error;
        await pause(ATTEMPT_PAUSE_MS);
      }
    }
  });
}

/** Returns the server that was left running, if its settings match and it answers; otherwise stops it. */
async function takeOver(
  description: ServiceDescription,
  stateFile: string,
): Promise<EmbeddedService | undefined> {
  const state = JSON.parse(await readFile(stateFile, 'utf8').catch(() => '{}')) as Partial<State>;
  const { pid = 0, identity = '', port = 0, settings = [] } = state;
  const server = OwnedProcess.recorded(pid, identity);
  if (!server) return undefined;
  // Its last owner may have frozen it.
  server.signal('SIGCONT');
  const isWanted =
    description.reuse &&
    (description.port === undefined || description.port === port) &&
    JSON.stringify(settings) === JSON.stringify(description.settings);
  if (isWanted && (await becomesReady(description, server, port)))
    return running(description, server, port, true);
  await server.end(description.stopSignals);
  return undefined;
}

async function launch(description: ServiceDescription, stateFile: string): Promise<EmbeddedService> {
  const { name, dataDir, settings } = description;
  const logFile = path.join(dataDir, `${name.toLowerCase()}.log`);
  await rm(logFile, { force: true });
  const port = description.port ?? (await getPort({ host: '127.0.0.1' }));
  const server = await OwnedProcess.spawn(description.command(port), logFile);
  // Recorded at once, so that the next owner finds the server if this one dies now.
  const state: State = { pid: server.pid, identity: server.identity, port, settings };
  await writeFile(stateFile, JSON.stringify(state));
  if (await becomesReady(description, server, port)) return running(description, server, port, false);
  const how = server.isRunning() ? 'does not become ready' : 'has ended while it was starting';
  await server.end(['SIGKILL']);
  await rm(stateFile, { force: true });
  const lines = (await readFile(logFile, 'utf8')).trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
  throw new Error(`${name} ${how}. The end of ${logFile}:\n${lines}`);
}

function running(
  { stopSignals }: ServiceDescription,
  server: OwnedProcess,
  port: number,
  reused: boolean,
): EmbeddedService {
  let stopped: Promise<void> | undefined;
  return {
    port,
    pid: server.pid,
    reused,
    stop: async () => {
      // A frozen server would not receive the request to end.
      server.signal('SIGCONT');
      await (stopped ??= server.end(stopSignals));
    },
    kill: async () => await server.end(['SIGKILL']),
    signal: (signal) => server.signal(signal),
  };
}

async function becomesReady(
  { answers, readyMs }: ServiceDescription,
  server: OwnedProcess,
  port: number,
): Promise<boolean> {
  const deadline = performance.now() + readyMs;
  while (server.isRunning() && performance.now() < deadline) {
    if (await answers(port, server.pid)) return true;
    await pause(POLL_MS);
  }
  return false;
}
