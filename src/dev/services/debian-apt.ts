import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describeFailure, runCommand, type CommandResult } from './process.js';

/** apt with files of its own: it changes nothing of the system and needs no root. */
export interface Apt {
  /** What went wrong while the package lists were downloaded, if anything did. */
  readonly complaints: string;
  /** Whether the package lists hold all of these packages. */
  readonly knows: (packages: readonly string[]) => Promise<boolean>;
  /** What the packages depend on directly; each entry is a list of names of which one is enough. */
  readonly dependencies: (packages: readonly string[]) => Promise<string[][]>;
  /** Downloads packages; the paths of the files. */
  readonly download: (packages: readonly string[]) => Promise<string[]>;
}

/** Where the distribution's own package sources are named, by release; other files name third parties. */
const DISTRIBUTION_SOURCES = [
  '/etc/apt/sources.list.d/debian.sources',
  '/etc/apt/sources.list.d/ubuntu.sources',
  '/etc/apt/sources.list',
];

const UPDATE_MS = 240_000;
const DOWNLOAD_MS = 240_000;

/**
 * Sets up apt with its caches in `folder`.
 *
 * @param lists whose package lists: the system's as they are; or new ones, kept in `folder`, of the
 * distribution's own sources or of all of the system's sources
 * @returns undefined where the distribution's sources cannot be told from others
 * @throws if apt cannot be run
 */
export async function createPrivateApt(
  folder: string,
  lists: 'system' | 'distribution' | 'all',
  log: (line: string) => void,
): Promise<Apt | undefined> {
  const settings = [
    ...(await systemSettings()),
    // The rest of the system's settings is left out, above all its hooks, which change the system.
    'Dir::Etc::main "/dev/null";',
    'Dir::Etc::parts "/dev/null";',
    `Dir::Cache ${quoted(path.join(folder, 'cache'))};`,
    // The account that apt downloads as otherwise may be unable to enter this folder.
    'APT::Sandbox::User "root";',
    'Acquire::Languages "none";',
    'Acquire::Retries "2";',
    'Acquire::http::Timeout "20";',
    'Acquire::https::Timeout "20";',
  ];
  if (lists !== 'system') settings.push(`Dir::State::lists ${quoted(path.join(folder, 'lists'))};`);
  if (lists === 'distribution') {
    const sources = await distributionSources();
    if (sources === undefined) return undefined;
    settings.push(`Dir::Etc::sourcelist ${quoted(sources)};`, 'Dir::Etc::sourceparts "/dev/null";');
  }
  const debs = path.join(folder, 'debs');
  for (const name of ['cache/archives/partial', 'lists/partial', 'debs']) {
    await mkdir(path.join(folder, name), { recursive: true });
  }
  const configuration = path.join(folder, 'apt.conf');
  // A proxy's address among the settings can hold a password.
  await writeFile(configuration, `${settings.join('\n')}\n`, { mode: 0o600 });
  const run = (command: string, args: readonly string[], timeoutMs: number): Promise<CommandResult> =>
    runCommand({ command, args, cwd: debs, env: environment(configuration) }, { timeoutMs });

  let complaints = '';
  if (lists !== 'system') {
    log('downloading package lists (nothing of the system is changed); this can take half a minute');
    const updated = await run('apt-get', ['update', '-q'], UPDATE_MS);
    // Some lists may be out of reach and others there; what follows shows whether that is enough.
    complaints = updated.stderr.trim().split('\n').slice(0, 4).join('\n');
    if (complaints === '' && updated.code !== 0) complaints = `apt-get update ${describeFailure(updated)}`;
  }
  return {
    complaints,
    async knows(packages) {
      const shown = await run('apt-cache', ['show', '--no-all-versions', ...packages], 60_000);
      return shown.code === 0 && packages.every((name) => shown.stdout.includes(`Package: ${name}\n`));
    },
    async dependencies(packages) {
      return parseDependencies(
        (await run('apt-cache', ['depends', '--important', ...packages], 60_000)).stdout,
      );
    },
    async download(packages) {
      const downloaded = await run('apt-get', ['download', '-q', ...packages], DOWNLOAD_MS);
      if (downloaded.code !== 0) throw new Error(`apt-get download ${describeFailure(downloaded)}`);
      return (await readdir(debs))
        .filter((name) => name.endsWith('.deb'))
        .map((name) => path.join(debs, name));
    },
  };
}

/** How the system reaches its sources: proxies, certificates, architecture, and where the sources are named. */
async function systemSettings(): Promise<string[]> {
  const dump = await runCommand(
    { command: 'apt-config', args: ['dump'], env: environment(undefined) },
    { timeoutMs: 30_000 },
  );
  if (dump.code !== 0) throw new Error(`apt-config dump ${describeFailure(dump)}`);
  return dump.stdout
    .split('\n')
    .filter((line) =>
      /^(Acquire::(?!IndexTargets)|Dir::Etc::|APT::Architecture |APT::Default-Release )/.test(line),
    );
}

async function distributionSources(): Promise<string | undefined> {
  for (const file of DISTRIBUTION_SOURCES) {
    const text = await readFile(file, 'utf8').catch(() => '');
    if (/^(Types:|deb\s)/m.test(text)) return file;
  }
  return undefined;
}

/**
 * Reads lines such as `  Depends: libc6` and ` |Depends: a` (or the next one); virtual packages are in angle
 * brackets and followed by those that provide them.
 */
function parseDependencies(text: string): string[][] {
  const groups: string[][] = [];
  let group: string[] = [];
  for (const line of text.split('\n')) {
    const match = /^ (\s|\|)(?:Pre)?Depends: <?([^\s:>]+)/.exec(line);
    if (match !== null && match[2] !== undefined) {
      group.push(match[2]);
      if (match[1] === '|') continue;
      groups.push(group);
      group = [];
    } else {
      const provider = /^ {4}(\S+)$/.exec(line)?.[1];
      if (provider !== undefined) groups.at(-1)?.push(provider);
    }
  }
  return groups;
}

function environment(configuration: string | undefined): Record<string, string> {
  const env: Record<string, string> = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' };
  for (const name of ['http_proxy', 'https_proxy', 'ftp_proxy', 'no_proxy', 'APT_CONFIG']) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  if (configuration !== undefined) env['APT_CONFIG'] = configuration;
  return env;
}

function quoted(file: string): string {
  if (/["\n\\]/.test(file))
    throw new Error(`apt cannot work in ${file}: it has a character that needs quoting.`);
  return `"${file}"`;
}
