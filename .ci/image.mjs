import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

/**
 * Builds what the Dockerfile builds by its own steps, in empty folders instead of containers, and runs it as it says, by an
 * account without rights, on a PostgreSQL and a Redis of the compiled checkout. The image must serve a first query, report
 * itself healthy, hold no development dependency, and stop when it is told to.
 */
const ROOT = process.cwd();
const folder = mkdtempSync(path.join(tmpdir(), 'flovo-image-'));
chmodSync(folder, 0o755);
const closers = [];

try {
  const image = build(readFileSync('Dockerfile', 'utf8'), readFileSync('.dockerignore', 'utf8'));
  if (image.user === 'root') throw new Error('The image runs as root.');
  if (!image.healthCheck) throw new Error('The image has no HEALTHCHECK.');
  refuseDevelopmentDependencies(image);
  await serveFirstQuery(image);
} finally {
  for (const close of closers.toReversed()) await close();
  rmSync(folder, { recursive: true, force: true });
}

/** Runs the instructions of all stages. Returns the last one. */
function build(dockerfile, dockerignore) {
  const context = new Set([...dockerignore.matchAll(/^!(\S+)$/gm)].map(([, name]) => name));
  const stages = [];
  for (const line of dockerfile.replaceAll(/\\\n/g, ' ').split('\n')) {
    const [, instruction, rest] = /^([A-Z]+) (.*)$/.exec(line.trim()) ?? [];
    const stage = stages.at(-1);
    switch (instruction) {
      case undefined:
        break;
      case 'FROM': {
        const [, name = String(stages.length)] = / AS (\S+)$/i.exec(rest) ?? [];
        const root = path.join(folder, name);
        mkdirSync(root);
        stages.push({ name, root, cwd: root, env: {}, user: 'root' });
        break;
      }
      case 'WORKDIR':
        stage.cwd = path.join(stage.root, rest);
        mkdirSync(stage.cwd, { recursive: true });
        break;
      case 'ENV':
        for (const [, name, value] of rest.matchAll(/(\w+)=(\S+)/g)) stage.env[name] = value;
        break;
      case 'COPY':
        copy(rest.split(/\s+/), stage, stages, context);
        break;
      case 'RUN': {
        console.log(`${stage.name}: ${rest}`);
        const { status } = spawnSync('sh', ['-c', rest], {
          cwd: stage.cwd,
          env: environmentOf(stage),
          stdio: 'inherit',
        });
        if (status !== 0) throw new Error(`RUN ${rest} ended with ${status}`);
        break;
      }
      case 'USER':
        stage.user = rest;
        break;
      case 'EXPOSE':
        break;
      case 'HEALTHCHECK':
        stage.healthCheck = JSON.parse(rest.slice(rest.indexOf('[')));
        break;
      case 'CMD':
        stage.command = JSON.parse(rest);
        break;
      default:
        throw new Error(`This script does not know the instruction ${instruction}.`);
    }
  }
  return stages.at(-1);
}

function copy(words, stage, stages, context) {
  const from = words[0].startsWith('--from=') ? words.shift().slice('--from='.length) : undefined;
  const target = words.pop();
  for (const source of words) {
    if (from === undefined && !context.has(source)) throw new Error(`.dockerignore leaves ${source} out.`);
    const origin =
      from === undefined
        ? path.join(ROOT, source)
        : path.join(stages.find(({ name }) => name === from).root, source);
    const name = target.endsWith('/') ? path.join(target, path.basename(source)) : target;
    cpSync(origin, path.join(stage.cwd, name), { recursive: true, verbatimSymlinks: true });
  }
}

/** Nothing of this machine's environment but the way to programs and to the package registry. */
function environmentOf(stage) {
  const { PATH, HOME } = process.env;
  const npm = Object.entries(process.env).filter(([name]) =>
    /^(npm_config_(registry|cache)|https?_proxy|no_proxy|NODE_EXTRA_CA_CERTS)$/i.test(name),
  );
  return { PATH, HOME, ...Object.fromEntries(npm), ...stage.env };
}

function refuseDevelopmentDependencies({ cwd }) {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
  const found = Object.entries(packages).filter(
    ([name, { dev }]) => dev === true && existsSync(path.join(cwd, name)),
  );
  if (found.length > 0) throw new Error(`The image holds ${found.map(([name]) => name).join(', ')}`);
  const { stdout } = spawnSync('du', ['-sm', cwd], { encoding: 'utf8' });
  console.log(`image: ${stdout.split('\t')[0]} MB besides Node`);
}

async function serveFirstQuery(image) {
  const built = async (file) => await import(path.join(ROOT, 'dist', file));
  const [{ startPostgres }, { startRedis }, { DEMO, seedDemoData }, { signToken }, { openDriver }] =
    await Promise.all(
      [
        'dev/services/postgres.js',
        'dev/services/redis.js',
        'dev/demo-data.js',
        'auth/sign-token.js',
        'db/driver.js',
      ].map(built),
    );
  const keep = (service) => {
    closers.push(service.stop);
    return service;
  };
  const [postgres, redis] = await Promise.all([
    startPostgres({ dataDir: path.join(folder, 'postgres'), log: console.log }).then(keep),
    // A Redis that was downloaded for the tests is used again.
    startRedis({ dataDir: path.join(ROOT, '.data', path.basename(folder)), log: console.log }).then(keep),
  ]);
  closers.push(() =>
    rmSync(path.join(ROOT, '.data', path.basename(folder)), { recursive: true, force: true }),
  );
  const secret = 'a-secret-of-32-characters-or-more';
  const port = await freePort();
  const env = {
    ...environmentOf(image),
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    JWT_SECRET: secret,
    PORT: String(port),
    OPERATOR_TOKEN: 'the-token-of-the-operators-of-this-image',
  };
  const account = process.getuid?.() === 0 ? { uid: 1_000, gid: 1_000 } : {};
  const [command, ...args] = image.command;
  const server = spawn(command, args, {
    cwd: image.cwd,
    env,
    ...account,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  closers.push(() => server.kill('SIGKILL'));
  const exited = once(server, 'exit');
  const lines = createInterface({ input: server.stdout });
  const served = new Promise((resolve) => {
    lines.on('line', (line) => {
      console.log(line);
      if (line.includes('"msg":"Serving"')) resolve();
    });
  });
  const ended = exited.then(([code]) => {
    throw new Error(`The server of the image ended with ${code}.`);
  });
  ended.catch(() => undefined);
  await Promise.race([
    served,
    ended,
    pause(60_000).then(() => Promise.reject(new Error('It does not serve.'))),
  ]);

  const sql = openDriver(postgres.url, { max: 1 });
  await seedDemoData(sql).finally(async () => await sql.end({ timeout: 5 }));
  const response = await fetch(`http://127.0.0.1:${port}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${await signToken(secret, DEMO.owner.id)}`,
    },
    body: JSON.stringify({ query: `{ bots(orgId: "${DEMO.acme}", limit: 1) { total } }` }),
  });
  const answer = await response.text();
  console.log(answer);
  if (answer.trim() !== '{"data":{"bots":{"total":120}}}') throw new Error('The first query failed.');

  const page = await fetch(`http://127.0.0.1:${port}/console`);
  if (!page.ok || !(await page.text()).includes('/console/console.js'))
    throw new Error('The console is missing.');

  const [check, ...checkArgs] = image.healthCheck;
  const checkStatus = () => spawnSync(check, checkArgs, { cwd: image.cwd, env, ...account }).status;
  if (checkStatus() !== 0) throw new Error('The health check fails though the server serves.');
  server.kill('SIGTERM');
  const [code] = await exited;
  if (code !== 0) throw new Error(`The server ended with ${code} on SIGTERM.`);
  if (checkStatus() !== 1) throw new Error('The health check passes though there is no server.');
  console.log('image: built by the Dockerfile, served the first query, healthy, stopped');
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}
