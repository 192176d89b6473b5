import { randomUUID } from 'node:crypto';
import { chown, mkdir, readFile, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { PostgresHome } from './postgres-home.js';
import { describeFailure, runCommand, type CommandResult } from './process.js';

/** The role that clients connect as: it may create databases, but is no superuser. */
export const ROLE = 'flovo';

/**
 * No password is asked for, so everybody on this machine can connect: hence only as a role that can neither run
 * programs nor read files through the server, as a superuser can.
 */
const CLIENT_AUTHENTICATION = `# TYPE  DATABASE  USER    ADDRESS        METHOD
host    all       ${ROLE}   127.0.0.1/32   trust
`;

const ROLE_STATEMENTS = [
  `create role ${ROLE} login createdb`,
  `grant pg_monitor, pg_signal_backend, pg_checkpoint to ${ROLE}`,
];

const NEW_PREFIX = 'cluster.new-';

/**
 * Creates the cluster's files unless they exist. Until they are complete they have another name, so that a
 * process that dies halfway leaves nothing that looks like a cluster. The caller must hold the lock.
 *
 * @throws if PostgreSQL cannot create them; the message holds its last lines
 */
export async function createCluster(home: PostgresHome, log: (line: string) => void): Promise<void> {
  const parent = path.dirname(home.cluster);
  for (const name of await readdir(parent)) {
    if (!name.startsWith(NEW_PREFIX)) continue;
    // An initdb whose owner died may still be writing there; what cannot be removed now is left to the next start.
    await rm(path.join(parent, name), { recursive: true, force: true, maxRetries: 5 }).catch(() => undefined);
  }
  if ((await stat(path.join(home.cluster, 'PG_VERSION')).catch(() => undefined)) !== undefined) return;

  const start = performance.now();
  const folder = path.join(parent, `${NEW_PREFIX}${randomUUID()}`);
  try {
    await mkdir(folder, { mode: 0o700 });
    if (home.account !== undefined) await chown(folder, home.account.uid, home.account.gid);
    await initialize(home, folder);
    await writeFile(path.join(folder, 'pg_hba.conf'), CLIENT_AUTHENTICATION);
    await rename(folder, home.cluster);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  log(`created a PostgreSQL cluster in ${home.cluster} (${Math.round(performance.now() - start)} ms)`);
}

async function initialize(home: PostgresHome, folder: string): Promise<void> {
  const { postgres, initdb } = home.programs;
  const result = await fill(home, folder, initdb, postgres);
  if (result === undefined) return;
  if (process.platform !== 'linux' || !result.includes('could not look up effective user ID')) {
    throw new Error(`The PostgreSQL cluster could not be created: ${result}`);
  }
  const nameless = await withNamelessPrograms(home, async (programs) => {
    return await fill(home, folder, programs.initdb, programs.postgres);
  });
  if (nameless !== undefined) throw new Error(`The PostgreSQL cluster could not be created: ${nameless}`);
}

/** Runs initdb and creates the role; undefined when both worked, else what went wrong. */
async function fill(
  home: PostgresHome,
  folder: string,
  initdb: string,
  postgres: string,
): Promise<string | undefined> {
  const created = await runCommand(
    home.run(initdb, [
      `--pgdata=${folder}`,
      '--username=postgres',
      '--encoding=UTF8',
      '--locale=C',
      '--auth=trust',
      '--no-sync',
      '--no-instructions',
    ]),
    { timeoutMs: 120_000 },
  );
  if (created.code !== 0) return describeFailure(created);
  // Single-user mode reads one statement a line, and reports a failed one without ending in failure.
  const role: CommandResult = await runCommand(
    home.run(postgres, ['--single', '-F', '-D', folder, 'postgres']),
    {
      input: `${ROLE_STATEMENTS.join(';\n')};\n`,
      timeoutMs: 60_000,
    },
  );
  if (role.code !== 0 || /\b(ERROR|FATAL|PANIC):/.test(role.stderr)) return describeFailure(role);
  return undefined;
}

/**
 * initdb and single-user mode refuse an account without an entry in /etc/passwd (as in `docker run --user
 * 1234`), though they only print its name. No setting avoids that, so this makes copies of the two programs that
 * ask for the first entry (getpwent) where they asked for their own (getpwuid: a name of the same length), for
 * the one moment in which they are needed. The server itself never asks.
 */
async function withNamelessPrograms<T>(
  home: PostgresHome,
  action: (programs: { initdb: string; postgres: string }) => Promise<T>,
): Promise<T> {
  const parent = path.dirname(home.cluster);
  const folder = path.join(parent, `${NEW_PREFIX}programs-${randomUUID()}`);
  const bin = path.join(folder, 'bin');
  try {
    await mkdir(bin, { recursive: true });
    await symlink(path.join(home.programs.folder, 'lib'), path.join(folder, 'lib'));
    await symlink(path.join(home.programs.folder, 'share'), path.join(folder, 'share'));
    const programs = { initdb: path.join(bin, 'initdb'), postgres: path.join(bin, 'postgres') };
    for (const name of ['initdb', 'postgres'] as const) {
      const image = await readFile(home.programs[name]);
      const at = image.indexOf('\0getpwuid\0');
      if (at >= 0) image.write('getpwent', at + 1, 'latin1');
      await writeFile(programs[name], image, { mode: 0o755 });
    }
    return await action(programs);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
