import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { createPrivateApt, type Apt } from './debian-apt.js';
import { findOnPath } from './executables.js';
import { withLock } from './lock.js';
import { describeFailure, runCommand } from './process.js';

/** A server program out of a distribution's packages. */
export interface UnpackedRedis {
  readonly command: string;
  readonly env: Record<string, string>;
  readonly cli?: string;
}

/** Debian has the one, or the other, or both; the server is in the first or second package by release. */
const CANDIDATES = [
  { packages: ['redis-server', 'redis-tools'], name: 'redis' },
  { packages: ['valkey-server', 'valkey-tools'], name: 'valkey' },
] as const;

const PACKAGE_LISTS = ['system', 'distribution', 'all'] as const;

/**
 * The Redis server of the Debian or Ubuntu package, downloaded with its libraries and unpacked into `folder`;
 * nothing is installed and no root is needed. What is there from an earlier call is used as it is.
 *
 * @returns undefined on a system without apt
 * @throws if the packages cannot be downloaded or what they hold does not run
 */
export async function redisFromDebianPackages(
  folder: string,
  log: (line: string) => void,
): Promise<UnpackedRedis | undefined> {
  const kept = await unpackedIn(folder);
  if (kept !== undefined) return kept;
  for (const name of ['apt-get', 'apt-cache', 'apt-config', 'dpkg-deb', 'dpkg-query']) {
    if (process.platform !== 'linux' || (await findOnPath(name)) === undefined) return undefined;
  }
  await mkdir(path.dirname(folder), { recursive: true });
  return await withLock(`${folder}.lock`, log, async () => {
    return (await unpackedIn(folder)) ?? (await download(folder, log));
  });
}

async function download(folder: string, log: (line: string) => void): Promise<UnpackedRedis> {
  const start = performance.now();
  const parent = path.dirname(folder);
  const prefix = `${path.basename(folder)}.new-`;
  // Left by a process that died; nobody else is at work, for we hold the lock.
  for (const name of await readdir(parent)) {
    if (name.startsWith(prefix)) await rm(path.join(parent, name), { recursive: true, force: true });
  }
  log('no Redis server on PATH; downloading the package of this distribution, without installing it');
  const work = await mkdtemp(path.join(parent, prefix));
  try {
    const root = path.join(work, 'root');
    await mkdir(root);
    for (const file of await downloadPackages(work, log)) {
      const unpacked = await runCommand(
        { command: 'dpkg-deb', args: ['-x', file, root], env: inherited() },
        { timeoutMs: 60_000 },
      );
      if (unpacked.code !== 0)
        throw new Error(`dpkg-deb -x ${path.basename(file)} ${describeFailure(unpacked)}`);
    }
    await checkRuns(root);
    // A folder that is there does not run, or we would not be here.
    await rm(folder, { recursive: true, force: true });
    await rename(root, folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  const redis = await unpackedIn(folder);
  if (redis === undefined) throw new Error(`The Redis server in ${folder} does not run.`);
  log(`Redis server kept in ${folder} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  return redis;
}

/** Tries the system's package lists first, for they are there in an instant, but may be missing or out of date. */
async function downloadPackages(work: string, log: (line: string) => void): Promise<string[]> {
  const failures: string[] = [];
  for (const lists of PACKAGE_LISTS) {
    const folder = path.join(work, lists);
    try {
      const apt = await createPrivateApt(folder, lists, log);
      if (apt === undefined) continue;
      const names = await packagesToUnpack(apt);
      return await apt.download(names);
    } catch (error) {
      failures.push(`With the package lists of "${lists}": ${(error as Error).message}`);
      await rm(folder, { recursive: true, force: true });
    }
  }
  throw new Error(`The package of this distribution could not be had.\n${failures.join('\n')}`);
}

/** The packages of the server and those of the libraries it needs that the system does not have. */
async function packagesToUnpack(apt: Apt): Promise<string[]> {
  const installed = await installedPackages();
  for (const { packages } of CANDIDATES) {
    if (!(await apt.knows(packages))) continue;
    const chosen = new Set<string>(packages);
    let level: readonly string[] = packages;
    while (level.length > 0) {
      const next: string[] = [];
      for (const alternatives of await apt.dependencies(level)) {
        if (alternatives.some((name) => installed.has(name) || chosen.has(name))) continue;
        // Everything else (adduser, lsb-base, …) serves the installation, which does not take place.
        const library = alternatives.find((name) => /^(lib|lua-)/.test(name));
        if (library === undefined) continue;
        chosen.add(library);
        next.push(library);
      }
      level = next;
    }
    return [...chosen];
  }
  const reason = apt.complaints === '' ? '' : `; downloading them reported:\n${apt.complaints}`;
  throw new Error(`The package lists hold neither redis-server nor valkey-server${reason}`);
}

async function installedPackages(): Promise<Set<string>> {
  const list = await runCommand(
    { command: 'dpkg-query', args: ['-W', '-f', '${Package} ${db:Status-Status}\\n'], env: inherited() },
    { timeoutMs: 60_000 },
  );
  return new Set(
    list.stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.slice(0, line.indexOf(' '))),
  );
}

/** The server below `root` if it is there and runs. */
async function unpackedIn(root: string): Promise<UnpackedRedis | undefined> {
  return await checkRuns(root).catch(() => undefined);
}

async function checkRuns(root: string): Promise<UnpackedRedis> {
  for (const { name } of CANDIDATES) {
    const command = path.join(root, 'usr', 'bin', `${name}-server`);
    if (!(await exists(command))) continue;
    const env = { LD_LIBRARY_PATH: (await libraryFolders(root)).join(':') };
    const version = await runCommand(
      { command, args: ['--version'], env: { ...inherited(), ...env } },
      { timeoutMs: 20_000 },
    );
    if (version.code !== 0)
      throw new Error(`The server in the package does not run; it ${describeFailure(version)}`);
    const cli = path.join(root, 'usr', 'bin', `${name}-cli`);
    return { command, env, ...((await exists(cli)) ? { cli } : {}) };
  }
  throw new Error(`There is no server in ${root}.`);
}

/** Where packages put libraries: lib/x86_64-linux-gnu and the like. */
async function libraryFolders(root: string): Promise<string[]> {
  const folders: string[] = [];
  for (const parent of [path.join(root, 'usr', 'lib'), path.join(root, 'lib')]) {
    for (const name of await readdir(parent).catch(() => [])) {
      if (name.includes('-linux-')) folders.push(path.join(parent, name));
    }
  }
  return folders;
}

async function exists(file: string): Promise<boolean> {
  return (await stat(file).catch(() => undefined)) !== undefined;
}

function inherited(): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' };
}
