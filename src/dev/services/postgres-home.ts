import { createHash, randomUUID } from 'node:crypto';
import { chmod, chown, cp, lstat, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { findOnPath } from './executables.js';
import { completePrograms, locatePostgresPrograms, type PostgresPrograms } from './postgres-binaries.js';
import { describeFailure, runCommand, type Command } from './process.js';

/** Where a cluster (the files of one PostgreSQL server) lies, and how programs that work on it are run. */
export interface PostgresHome {
  readonly cluster: string;
  readonly programs: PostgresPrograms;
  /** The account that must own the cluster, where that is not our own. */
  readonly account?: Account;
  readonly run: (program: string, args: readonly string[]) => Command;
}

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

type Run = PostgresHome['run'];

/** `nobody` on Linux: owns nothing, and has this number on every distribution. */
const NOBODY: Account = { uid: 65_534, gid: 65_534 };

/**
 * Finds out how PostgreSQL can run on this machine with its cluster in `dataDir`.
 *
 * PostgreSQL refuses to run as root, so root runs it as the account that owns the cluster (`nobody` for a new
 * one). That account may be unable to reach the checkout, for instance below /root or a `mktemp -d` folder: it
 * is then given the one capability that lets it pass such folders, or, where that is impossible, programs and
 * cluster are kept in the folder for temporary files instead.
 *
 * @throws if no way works; the message says what was tried
 */
export async function findPostgresHome(dataDir: string, log: (line: string) => void): Promise<PostgresHome> {
  const programs = await locatePostgresPrograms(path.join(dataDir, 'libraries'));
  const cluster = path.join(dataDir, 'cluster');
  const owner = await stat(cluster).catch(() => undefined);
  if (process.geteuid?.() !== 0) {
    if (owner !== undefined && process.geteuid !== undefined && owner.uid !== process.geteuid()) {
      throw new Error(
        `${cluster} belongs to another account (uid ${owner.uid}): it was made by another user, or by root. ` +
          'Remove it, or set DATA_DIR to another folder.',
      );
    }
    return { cluster, programs, run: runDirectly(programs) };
  }

  const account = owner === undefined || owner.uid === 0 ? NOBODY : { uid: owner.uid, gid: owner.gid };
  const failures: string[] = [];
  for (const [name, run] of await waysFromRoot(programs, account)) {
    const failure = await tryWay(run, programs, dataDir, account);
    if (failure === undefined) return { cluster, programs, account, run };
    failures.push(`${name}: ${failure}`);
  }
  return await homeInTemporaryFolder(dataDir, programs, account, failures, log);
}

function runDirectly({ env }: PostgresPrograms, account?: Account): Run {
  return (program, args) => ({
    command: program,
    args,
    env,
    // The current folder may be one that the account cannot enter.
    cwd: '/',
    ...(account === undefined ? {} : { account }),
  });
}

/** The ways to run a program as `account`, the one that grants least first. */
async function waysFromRoot(programs: PostgresPrograms, account: Account): Promise<[string, Run][]> {
  const direct = runDirectly(programs, account);
  const ways: [string, Run][] = [[`as uid ${account.uid}`, direct]];
  const setpriv = await findOnPath('setpriv');
  if (setpriv === undefined) return ways;
  for (const capability of ['dac_read_search', 'dac_override']) {
    ways.push([
      `as uid ${account.uid} with the capability ${capability}`,
      (program, args) => ({
        ...runDirectly(programs)(program, args),
        command: setpriv,
        args: [
          `--reuid=${account.uid}`,
          `--regid=${account.gid}`,
          '--clear-groups',
          // Otherwise access(2), with which PostgreSQL looks for its own files, ignores the capability.
          '--securebits=+no_setuid_fixup',
          `--inh-caps=+${capability}`,
          `--ambient-caps=+${capability}`,
          program,
          ...args,
        ],
      }),
    ]);
  }
  return ways;
}

/** Whether the account can run the programs and write in a folder of its own in `dataDir`; if not, why. */
async function tryWay(
  run: Run,
  programs: PostgresPrograms,
  dataDir: string,
  account: Account,
): Promise<string | undefined> {
  const folder = path.join(dataDir, 'probe');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { mode: 0o700 });
  try {
    await chown(folder, account.uid, account.gid);
    const script =
      'for file in "$1" "$2"; do test -x "$file" || { echo "cannot run $file" >&2; exit 1; }; done; ' +
      ': > "$3/probe" && "$1" --version';
    const arguments_ = ['-c', script, 'sh', programs.postgres, programs.initdb, folder];
    const result = await runCommand(run('/bin/sh', arguments_), { timeoutMs: 20_000 });
    return result.code === 0 ? undefined : describeFailure(result);
  } catch (error) {
    return (error as Error).message;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function homeInTemporaryFolder(
  dataDir: string,
  original: PostgresPrograms,
  account: Account,
  failures: string[],
  log: (line: string) => void,
): Promise<PostgresHome> {
  const name = `flovo-bots-postgres-${createHash('sha256').update(dataDir).digest('hex').slice(0, 16)}`;
  for (const parent of new Set([os.tmpdir(), '/tmp', '/var/tmp'])) {
    const folder = path.join(parent, name);
    try {
      await createFolderOfRoot(folder);
      await checkPassable(folder, original, account);
      const programs = await copyPrograms(original, folder);
      const cluster = path.join(folder, 'cluster');
      const owner = await stat(cluster).catch(() => undefined);
      const actual = owner === undefined || owner.uid === 0 ? account : { uid: owner.uid, gid: owner.gid };
      const run = runDirectly(programs, actual);
      const failure = await tryWay(run, programs, folder, actual);
      if (failure !== undefined) throw new Error(failure);
      log(
        `PostgreSQL does not run as root, and uid ${actual.uid} cannot reach ${dataDir}: ` +
          `its programs and data are in ${folder} instead.`,
      );
      return { cluster, programs, account: actual, run };
    } catch (error) {
      failures.push(`in ${folder}: ${(error as Error).message}`);
    }
  }
  throw new Error(
    'PostgreSQL does not run as root, and no way was found to run it as another account. Start this as an ' +
      `ordinary user, or set DATABASE_URL to a PostgreSQL of yours.\n${failures.join('\n')}`,
  );
}

/** Others may write in the parent, so a folder that is there already must be one that only root can have made. */
async function createFolderOfRoot(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o711 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const found = await lstat(folder);
  if (!found.isDirectory() || found.uid !== 0 || (found.mode & 0o022) !== 0) {
    throw new Error('something that root did not make is in the way');
  }
  // Whatever the umask was.
  await chmod(folder, 0o711);
}

/** Before much is copied there. */
async function checkPassable(folder: string, programs: PostgresPrograms, account: Account): Promise<void> {
  const run = runDirectly(programs, account);
  const result = await runCommand(run('/bin/sh', ['-c', 'cd "$1"', 'sh', folder]), { timeoutMs: 20_000 });
  if (result.code !== 0) throw new Error(describeFailure(result));
}

/** Copies the programs to where every account can read them, once. */
async function copyPrograms(original: PostgresPrograms, folder: string): Promise<PostgresPrograms> {
  const version = path.join(folder, `programs-${await identityOf(original.postgres)}`);
  if ((await stat(version).catch(() => undefined)) === undefined) {
    const unfinished = `${version}.${randomUUID()}`;
    await cp(original.folder, unfinished, { recursive: true, verbatimSymlinks: true });
    await makeReadable(unfinished);
    await rename(unfinished, version);
  }
  return await completePrograms(version, path.join(folder, 'libraries'));
}

async function identityOf(file: string): Promise<string> {
  const { size, mtimeMs } = await stat(file);
  return `${size}-${Math.trunc(mtimeMs)}`;
}

async function makeReadable(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) await makeReadable(file);
    else if (entry.isFile()) await chmod(file, path.basename(folder) === 'bin' ? 0o755 : 0o644);
  }
}
