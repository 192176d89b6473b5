import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import which from 'which';

import { processEnvironment } from '../../config.js';
import { runCommand } from './commands.js';
import { withLock } from './lock.js';

/** A Redis (or Valkey) server program, and the additions to its environment. */
export interface RedisProgram {
  readonly command: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Debian has one of them, or both. */
const NAMES = ['redis', 'valkey'] as const;
const DOWNLOAD_MS = 240_000;

/**
 * Finds a Redis server program: on PATH, or else in the package of this Debian or Ubuntu, which is downloaded and
 * unpacked beside `dataDir`, for all instances there. Nothing is installed, and root is not needed.
 * @throws Error with instructions to get one, if there is none
 */
export async function findRedis(dataDir: string, log: (line: string) => void): Promise<RedisProgram> {
  for (const name of NAMES) {
    const command = await which(`${name}-server`, { nothrow: true });
    if (command !== null) return { command, env: {} };
  }
  const folder = path.join(path.dirname(path.resolve(dataDir)), 'redis-server');
  try {
    const unpacked = await programIn(folder);
    if (unpacked) return unpacked;
    await mkdir(path.dirname(folder), { recursive: true });
    return await withLock(folder, async () => (await programIn(folder)) ?? (await download(folder, log)));
  } catch (cause) {
    throw new Error(
      'No Redis server was found. Install one (redis-server), set REDIS_URL to one of yours (REDIS_URL=off: none), or ' +
        `start one with \`docker compose up -d redis\`. The package could not be downloaded: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** Downloads a package with the libraries that the system lacks, and unpacks them. @throws Error if there is none */
async function download(folder: string, log: (line: string) => void): Promise<RedisProgram> {
  log('No Redis server on PATH: downloading the package of this distribution, without installing it');
  const work = await mkdtemp(`${folder}.new-`);
  try {
    const debs = await downloadPackages(work);
    const root = path.join(work, 'root');
    await mkdir(root);
    for (const deb of debs) await run('dpkg-deb', '-x', deb, root);
    await rm(folder, { recursive: true, force: true });
    await rename(root, folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  const program = await programIn(folder);
  if (!program) throw new Error(`the program in ${folder} does not run`);
  return program;
}

/** Downloads a server and the libraries that the system lacks, with separate package lists, settings and cache. */
async function downloadPackages(work: string): Promise<string[]> {
  const archives = path.join(work, 'cache', 'archives');
  for (const name of ['cache/archives/partial', 'lists/partial']) {
    await mkdir(path.join(work, name), { recursive: true });
  }
  const configuration = path.join(work, 'apt.conf');
  const settings = [
    // Hooks would change the system.
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    `Dir::Cache "${path.join(work, 'cache')}";`,
    'Dir::Cache::archives "archives";',
    `Dir::State::lists "${path.join(work, 'lists')}";`,
    'Debug::NoLocking "true";',
    // apt would otherwise download as another account, which may be unable to enter this folder.
    'APT::Sandbox::User "root";',
    'Acquire::Languages "none";',
    'Acquire::Retries "2";',
  ];
  await writeFile(configuration, settings.join('\n'));
  const failures: string[] = [];
  const apt = async (...args: string[]) =>
    await run('apt-get', '-c', configuration, ...args).catch((error: Error) => failures.push(error.message));
  // Some lists may be unreachable. The downloads below fail if the others are not enough.
  await apt('update');
  for (const name of NAMES) {
    // Depending on the release, the program is in one package or the other.
    const packages = [`${name}-server`, `${name}-tools`];
    await apt('install', '--yes', '--download-only', '--reinstall', '--no-install-recommends', ...packages);
    const debs = (await readdir(archives)).filter((file) => file.endsWith('.deb'));
    if (debs.length > 0) return debs.map((file) => path.join(archives, file));
  }
  throw new Error(failures.join('\n'));
}

async function run(command: string, ...args: string[]): Promise<void> {
  const env = { ...processEnvironment(), LC_ALL: 'C' };
  await runCommand({ command, args, env }, { timeoutMs: DOWNLOAD_MS });
}

/** The program in an unpacked package; undefined if none runs. */
async function programIn(root: string): Promise<RedisProgram | undefined> {
  const folder = path.join(root, 'usr', 'lib');
  const libraries = (await readdir(folder).catch(() => [])).filter((name) => name.includes('-linux-'));
  const env = { LD_LIBRARY_PATH: libraries.map((name) => path.join(folder, name)).join(':') };
  for (const name of NAMES) {
    const command = path.join(root, 'usr', 'bin', `${name}-server`);
    const runs = await runCommand({ command, args: ['--version'], env }).then(
      () => true,
      () => false,
    );
    if (runs) return { command, env };
  }
  return undefined;
}
