import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';

import { eventually } from '../support/eventually.js';
import { createDataDir } from './dev-server.js';

/** A copy of the checkout whose sources the tests can edit. */
let checkout: string;
let dataDir: string;

beforeAll(async () => {
  dataDir = await createDataDir();
  checkout = path.join(dataDir, 'checkout');
  await mkdir(checkout);
  for (const name of ['src', 'scripts', 'drizzle', 'package.json', 'tsconfig.json', 'tsconfig.build.json']) {
    await cp(name, path.join(checkout, name), { recursive: true });
  }
  await symlink(path.resolve('node_modules'), path.join(checkout, 'node_modules'));
}, 60_000);

const running: ChildProcess[] = [];

/** Ends the programs that a failed test left running. */
afterEach(async () => {
  for (const child of running.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
}, 60_000);

afterAll(async () => {
  await rm(checkout, { recursive: true, force: true, maxRetries: 10 });
});

/** Runs a program in the checkout, or a script of its package.json by `npm`. */
function run(script: string, environment: Record<string, string> = {}, npm?: 'npm') {
  const child = spawn(npm ?? process.execPath, npm ? ['run', script] : [script], {
    cwd: checkout,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, DATA_DIR: dataDir, PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.push(child);
  const output: string[] = [];
  const listeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      output.push(line);
      listeners.forEach((listener) => listener());
    });
  }
  const closed = once(child, 'close') as Promise<[number | null]>;
  return {
    child,
    output,
    closed,
    text: () => output.join('\n'),
    /** Waits for a line after the first `from` lines. Returns the number of lines by then. */
    async line(pattern: RegExp, from = 0): Promise<number> {
      const seen = new Promise<number>((resolve) => {
        const look = () => {
          const found = output.findIndex((line, i) => i >= from && pattern.test(line));
          if (found >= 0) resolve(found + 1);
        };
        listeners.add(look);
        look();
      });
      const ended = closed.then(([code]) => {
        throw new Error(`The program ended with ${code} before ${pattern}:\n${output.join('\n')}`);
      });
      ended.catch(() => undefined);
      return await Promise.race([seen, ended]);
    },
  };
}

/** The running programs of the checkout or its data, found by folder or command line. */
async function left(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '');
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (cwd.startsWith(dataDir) || command.includes(dataDir)) found.push(command.replaceAll('\0', ' '));
  }
  return found;
}

/** Values that differ between two runs of a service. */
const servicePids = async () =>
  await Promise.all(
    ['postgres/cluster/postmaster.pid', 'redis/server.json'].map(
      async (name) => await readFile(path.join(dataDir, name), 'utf8'),
    ),
  );

const READY = /Stop with Ctrl-C/;

describe('`npm run dev`', () => {
  test('restarts only the server after an edit: services, ports and the introduction stay', async () => {
    const dev = run('scripts/dev.mjs');
    const introduced = await dev.line(READY);
    const [, url = ''] = /GraphQL and playground +(\S+)/.exec(dev.text()) ?? [];
    const before = await servicePids();
    // A connection that is kept would lead to the server before the restart.
    const headers = { connection: 'close' };
    const health = async () => await (await fetch(new URL('/healthz', url), { headers })).text();
    const first = await health();

    const file = path.join(checkout, 'src/http/health.ts');
    const source = await readFile(file, 'utf8');
    await writeFile(file, `${source}\nexport const broken: number = 'text';\n`);
    let seen = await dev.line(/does not compile/, introduced);
    expect(dev.text()).toMatch(/health\.ts.*error TS2322/);
    expect(await health()).toBe(first);

    await writeFile(file, `${source}\nexport const mended: string = 'text';\n`);
    seen = await dev.line(/Restarted in/, seen);
    await eventually(async () => (await health()) === first);
    expect(await servicePids()).toEqual(before);
    expect(await readFile(path.join(checkout, 'dist/http/health.js'), 'utf8')).toContain('mended');

    await writeFile(file, `${source}\nthrow new Error('at import');\n`);
    seen = await dev.line(/The server has ended with 1/, seen);
    await writeFile(file, source);
    await dev.line(/Restarted in/, seen);
    await eventually(async () => (await health()) === first);
    expect(dev.output.filter((line) => READY.test(line))).toHaveLength(1);

    dev.child.kill('SIGINT');
    expect(await dev.closed).toEqual([0, null]);
    expect(await left()).toEqual([]);
  }, 300_000);

  test.each([
    ['SIGINT', READY, 0],
    ['SIGTERM', READY, 2],
    ['SIGHUP', READY, 5],
    ['SIGINT', /Compiling/, 1],
    ['SIGTERM', /Compiling/, 5],
  ] as const)(
    'leaves nothing running after %s at %s and a second signal within %s ms',
    async (signal, at, pauseMs) => {
      const dev = run('scripts/dev.mjs');
      await dev.line(at);
      dev.child.kill(signal);
      if (pauseMs > 0) setTimeout(() => dev.child.kill(signal), pauseMs);
      expect(await dev.closed).toEqual([0, null]);
      expect(await left()).toEqual([]);
    },
    120_000,
  );

  test('leaves neither the compiler nor the server running when it is killed', async () => {
    const dev = run('scripts/dev.mjs');
    await dev.line(READY);
    dev.child.kill('SIGKILL');
    await once(dev.child, 'exit');
    // The compiler exits at its next output.
    await writeFile(path.join(checkout, 'src/touched.ts'), 'export {};\n');
    await eventually(
      async () => (await left()).every((command) => /postgres|redis-server|valkey/.test(command)),
      60_000,
    );
    const again = run('scripts/dev.mjs');
    await again.line(READY);
    again.child.kill('SIGINT');
    await again.closed;
    expect(await left()).toEqual([]);
  }, 120_000);
});

describe('`npm start`', () => {
  test('says at once that it compiles, prints no warning, and stops all processes on two signals', async () => {
    const start = run('scripts/start.mjs');
    await start.line(READY);
    expect(start.output[0]).toMatch(/Compiling/);
    expect(start.text()).not.toContain('"level":');
    start.child.kill('SIGTERM');
    setTimeout(() => start.child.kill('SIGTERM'), 3);
    expect(await start.closed).toEqual([0, null]);
    expect(await left()).toEqual([]);
  }, 120_000);
});

describe.each(['start', 'dev'])('`npm %s`', (script) => {
  test('leaves nothing running when npm itself is killed', async () => {
    const npm = run(script, {}, 'npm');
    await npm.line(READY);
    npm.child.kill('SIGTERM');
    // The stream ends when all processes have closed the output, the program behind npm included.
    await npm.closed;
    expect(await left()).toEqual([]);
  }, 120_000);
});

describe('`npm run serve`', () => {
  test('reads .env, but prefers the environment', async () => {
    await writeFile(path.join(checkout, '.env'), 'PORT=not-a-port\nCACHE_PREFIX=a*\nJWT_SECRET=short\n');
    const served = run('scripts/serve.mjs', { PORT: '0' });
    expect(await served.closed).toEqual([1, null]);
    await rm(path.join(checkout, '.env'));
    expect(served.text()).toMatch(/CACHE_PREFIX must not/);
    expect(served.text()).toMatch(/JWT_SECRET must have/);
    expect(served.text()).not.toContain('PORT');
  }, 60_000);

  test('says how to build the server if it is not built', async () => {
    await rm(path.join(checkout, 'dist'), { recursive: true });
    const served = run('scripts/serve.mjs');
    expect(await served.closed).toEqual([1, null]);
    expect(served.output).toEqual(['The server is not compiled. Run npm run build first.']);
  }, 60_000);
});
