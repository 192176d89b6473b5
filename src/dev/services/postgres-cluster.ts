import { randomUUID } from 'node:crypto';
import { chown, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { runCommand } from './commands.js';
import type { PostgresPrograms } from './postgres-programs.js';

/** The role that clients connect as. It may create databases, but is not a superuser. */
export const ROLE = 'flovo';

/**
 * Everybody on this machine can connect, because no password is needed. Clients therefore get a role that can neither
 * run programs nor read files through the server, as a superuser could.
 */
const CLIENT_AUTHENTICATION = `# TYPE  DATABASE  USER    ADDRESS        METHOD
host    all       ${ROLE}   127.0.0.1/32   trust
`;

const ROLE_STATEMENTS = `create role ${ROLE} login createdb;
grant pg_monitor, pg_signal_backend, pg_checkpoint to ${ROLE};
`;

const INITDB_FLAGS = ['--username=postgres', '--encoding=UTF8', '--locale=C', '--auth=trust', '--no-sync'];

/**
 * Creates the files of a server unless they exist. They have another name until they are complete, so that a process
 * that dies halfway leaves nothing that looks complete. The caller must hold the lock.
 * @throws Error if PostgreSQL cannot create them
 */
export async function createCluster(
  programs: PostgresPrograms,
  cluster: string,
  log: (line: string) => void,
): Promise<void> {
  if (await stat(path.join(cluster, 'PG_VERSION')).catch(() => undefined)) return;
  const startedAt = performance.now();
  const folder = `${cluster}.new-${randomUUID()}`;
  const { account, run, initdb, postgres } = programs;
  try {
    await mkdir(folder, { mode: 0o700 });
    if (account) await chown(folder, account.uid, account.gid);
    await runCommand(run(initdb, [`--pgdata=${folder}`, ...INITDB_FLAGS]), { timeoutMs: 120_000 });
    // Single-user mode reads one statement a line. It prints the error of a failed one, but its exit code is 0.
    const singleUser = run(postgres, ['--single', '-F', '-D', folder, 'postgres']);
    const { stderr } = await runCommand(singleUser, { input: ROLE_STATEMENTS });
    if (/\b(ERROR|FATAL|PANIC):/.test(stderr)) throw new Error(stderr);
    await writeFile(path.join(folder, 'pg_hba.conf'), CLIENT_AUTHENTICATION);
    await rename(folder, cluster);
  } catch (cause) {
    const advice =
      'Programs of PostgreSQL need an account with a name (an entry in /etc/passwd), or DATABASE_URL to be set.';
    throw new Error(`The PostgreSQL cluster could not be created. ${advice}\n${(cause as Error).message}`, {
      cause,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  log(`Created a PostgreSQL cluster in ${cluster} (${Math.round(performance.now() - startedAt)} ms)`);
}
