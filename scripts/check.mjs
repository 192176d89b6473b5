import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { folderCycles } from './folder-cycles.mjs';

/** `npm run check`: every check is run, and all that failed are named at the end. */
const failed = [];

function check(name, action) {
  const startedAt = performance.now();
  const problem = action();
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  console.log(`${problem === undefined ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
  if (problem === undefined) return;
  console.log(problem);
  failed.push(name);
}

function run(tool, ...args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [`node_modules/${tool}`, ...args], {
    encoding: 'utf8',
    env: { ...process.env, FORCE_COLOR: process.stdout.isTTY ? '1' : '0' },
  });
  return status === 0 ? undefined : `${stdout}${stderr}`;
}

/** Subjects of commits are held to their length from here on. */
const FIRST_CHECKED_COMMIT = 'b8330ab';
const MAX_SUBJECT_CHARACTERS = 72;

const scratch = mkdtempSync(path.join(tmpdir(), 'flovo-check-'));
try {
  check('types', () => run('typescript/bin/tsc', '-p', 'tsconfig.json'));
  if (existsSync('bench/node_modules') || process.env.CI) {
    check('types of the benchmark', () =>
      run('typescript/bin/tsc', '-p', 'bench/tsconfig.json', '--noEmit', '--incremental', 'false'),
    );
  } else console.log('------ types of the benchmark are not checked: run npm ci --prefix bench first');
  if (existsSync('examples/any-server/node_modules') || process.env.CI) {
    // It sees the compiled cache.
    check(
      'types of the example',
      () =>
        run('typescript/bin/tsc', '-p', 'tsconfig.build.json') ??
        run('typescript/bin/tsc', '-p', 'examples/any-server', '--noEmit'),
    );
  } else console.log('------ types of the example are not checked: run npm ci in examples/any-server first');
  check('lint and import directions', () => run('oxlint/bin/oxlint', '--type-aware', '--deny-warnings'));
  check('folders do not import each other', () => {
    const cycles = folderCycles('src');
    return cycles.length === 0 ? undefined : cycles.join('\n');
  });
  check(`subjects of commits have ${MAX_SUBJECT_CHARACTERS} characters at most`, () => {
    const git = (...range) => spawnSync('git', ['log', '--format=%h %s', ...range], { encoding: 'utf8' });
    const since = git(`${FIRST_CHECKED_COMMIT}..HEAD`);
    // In a shallow clone the first one is missing: then the commits that are there are checked.
    const { stdout } = since.status === 0 ? since : git('--max-count=1');
    const isLong = (line) => line.length - line.indexOf(' ') - 1 > MAX_SUBJECT_CHARACTERS;
    const long = (stdout ?? '').split('\n').filter(isLong);
    return long.length === 0 ? undefined : long.join('\n');
  });
  check('format', () => run('prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.'));
  check('every import is a declared dependency, every dependency is used', () => run('knip/bin/knip.js'));
  check('production imports no development dependency', () =>
    run('knip/bin/knip.js', '--production', '--strict', '--workspace', '.'),
  );
  check('schema/schema.graphql is what the resolvers declare', () => {
    const emitted = path.join(scratch, 'schema.graphql');
    const problem =
      run('typescript/bin/tsc', '-p', 'tsconfig.build.json') ?? runScript('scripts/emit-schema.mjs', emitted);
    if (problem !== undefined) return problem;
    const current = readFileSync(emitted, 'utf8') === readFileSync('schema/schema.graphql', 'utf8');
    return current ? undefined : 'Run npm run schema and commit the result.';
  });
  check('generated documents are what codegen.yml generates', () => {
    const committed = path.join(scratch, 'generated');
    cpSync('test/generated', committed, { recursive: true });
    const problem = run('@graphql-codegen/cli/cjs/bin.js', '--config', 'codegen.yml', '--silent');
    if (problem !== undefined) return problem;
    const isCurrent = readdirSync('test/generated').every(
      (name) =>
        tryRead(path.join(committed, name)) === readFileSync(path.join('test/generated', name), 'utf8'),
    );
    return isCurrent ? undefined : 'Run npm run codegen and commit the result.';
  });
} finally {
  rmSync(scratch, { recursive: true });
}
if (failed.length > 0) {
  console.error(`\n${failed.length} check(s) failed: ${failed.join('; ')}`);
  process.exit(1);
}

function runScript(script, ...args) {
  const { status, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });
  return status === 0 ? undefined : stderr;
}

function tryRead(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
