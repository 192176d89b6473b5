import { spawnSync } from 'node:child_process';
import { appendFile, cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

/** A copy of the project, so that imports can be added to it. */
let copy: string;

beforeAll(async () => {
  copy = await mkdtemp(path.join(process.env.FLOVO_TEST_FOLDER ?? '', 'dependencies-'));
  for (const name of [
    'src',
    'test',
    'scripts',
    'package.json',
    'knip.json',
    '.oxlintrc.json',
    'codegen.yml',
  ]) {
    await cp(name, path.join(copy, name), { recursive: true });
  }
  await mkdir(path.join(copy, 'bench'));
  for (const name of ['jest.config.mjs', 'tsconfig.json', 'tsconfig.build.json', 'drizzle.config.ts']) {
    await cp(name, path.join(copy, name));
  }
  await symlink(path.resolve('node_modules'), path.join(copy, 'node_modules'));
}, 60_000);

afterAll(async () => {
  await rm(copy, { recursive: true, force: true });
});

function run(tool: string, ...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [`node_modules/${tool}`, ...args], {
    cwd: copy,
    encoding: 'utf8',
  });
  return { status, output: stdout + stderr };
}

const knip = (...args: string[]) => run('knip/bin/knip.js', '--workspace', '.', ...args);

test('the check of dependencies names an undeclared import and a development dependency in src', async () => {
  expect(knip('--production', '--strict')).toEqual({ status: 0, output: '' });
  await appendFile(path.join(copy, 'src/errors.ts'), "import 'fast-check';\nimport 'left-pad';\n");
  const everything = knip();
  expect(everything.status).toBe(1);
  expect(everything.output).toContain('left-pad');
  const production = knip('--production', '--strict');
  expect(production.status).toBe(1);
  for (const name of ['left-pad', 'fast-check']) expect(production.output).toContain(name);
}, 120_000);

test('the check of folders names two that import each other', async () => {
  const script =
    "import { folderCycles } from './scripts/folder-cycles.mjs'; console.log(folderCycles('src'));";
  const cycles = () =>
    spawnSync(process.execPath, ['--input-type=module', '--eval', script], { cwd: copy, encoding: 'utf8' });
  expect(cycles().stdout).toBe('[]\n');
  const added = path.join(copy, 'src/graphql/cycle.ts');
  await writeFile(added, "export type { Drain } from '../http/drain.js';\n");
  expect(cycles().stdout).toContain('graphql and http import each other');
  await rm(added);
});

test('the lint refuses an import of src/dev in every other folder of src', async () => {
  const entries = await readdir(path.join(copy, 'src'), { withFileTypes: true });
  const folders = entries
    .filter((entry) => entry.isDirectory() && entry.name !== 'dev')
    .map(({ name }) => name);
  const files = ['src/added.ts', ...folders.map((name) => `src/${name}/added.ts`)];
  for (const file of files) {
    const up = file === 'src/added.ts' ? '.' : '..';
    await writeFile(path.join(copy, file), `export * from '${up}/dev/closers.js';\n`);
  }
  const { status, output } = run('oxlint/bin/oxlint', '--format=unix', ...files);
  expect(status).toBe(1);
  for (const file of files) expect(output).toMatch(new RegExp(`${file}.*restricted`));
}, 60_000);
