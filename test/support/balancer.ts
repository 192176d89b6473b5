import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import getPort from 'get-port';

import { eventually } from './eventually.js';

const RECIPES = 'docs/operations/balancers.md';

export interface Balancer {
  readonly name: string;
  /** The URL of the GraphQL endpoint, through the balancer. Responses name their server in `x-served-by`: `127.0.0.1:4001`. */
  readonly url: string;
  stop(): Promise<void>;
}

/** A balancer for servers on this machine, which need not listen yet. */
type StartBalancer = (servers: readonly number[]) => Promise<Balancer>;

/**
 * The settings that the documentation recommends, with two changes: there are no retries, so that tests see every failure,
 * and idle connections are used for every request.
 */
export const startHaProxy: StartBalancer = async (servers) =>
  await start(servers, {
    name: 'haproxy',
    args: (file) => ['-db', '-f', file],
    settings: (recipe) =>
      recipe
        .replace('mode http', 'mode http\n  retries 0')
        .replace(
          'balance roundrobin',
          'balance roundrobin\n  http-reuse always\n  http-response set-header x-served-by %si:%sp',
        ),
  });

/** The settings that the documentation recommends, in two workers. */
export const startNginx: StartBalancer = async (servers) =>
  await start(servers, {
    name: 'nginx',
    args: (file) => ['-e', 'stderr', '-p', path.dirname(file), '-c', file],
    settings: (recipe) => `
      daemon off;
      worker_processes 2;
      pid nginx.pid;
      ${process.geteuid?.() === 0 ? 'user root;' : ''}
      events {}
      http {
        access_log off;
        ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `${what}_temp_path ${what};`).join('\n')}
        ${recipe.replace('location / {', 'location / {\n add_header x-served-by $upstream_addr always;')}
      }`,
  });

interface Program {
  readonly name: string;
  readonly args: (file: string) => string[];
  /** The whole configuration, with the settings of the documentation. */
  readonly settings: (recipe: string) => string;
}

async function start(servers: readonly number[], { name, args, settings }: Program): Promise<Balancer> {
  const folder = await mkdtemp(path.join(tmpdir(), `flovo-${name}-`));
  const port = await getPort();
  const file = path.join(folder, `${name}.conf`);
  await writeFile(file, settings(onThisMachine(await recipeOf(name), port, servers)));
  const child = spawn(`/usr/sbin/${name}`, args(file), { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = once(child, 'exit');
  const said: string[] = [];
  child.stderr.on('data', (text: Buffer) => said.push(text.toString()));
  await eventually(async () => {
    if (child.exitCode !== null) throw new Error(`${name} ended:\n${said.join('')}`);
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect').finally(() => socket.destroy());
  });
  return {
    name,
    url: `http://127.0.0.1:${port}/graphql`,
    async stop() {
      child.kill('SIGTERM');
      await exited;
      await rm(folder, { recursive: true });
    },
  };
}

/** The block of settings in the documentation. */
async function recipeOf(name: string): Promise<string> {
  const document = await readFile(RECIPES, 'utf8');
  const [, recipe] = new RegExp(`^\`\`\`${name}\\n(.*?)^\`\`\`$`, 'ms').exec(document) ?? [];
  if (recipe === undefined) throw new Error(`${RECIPES} has no settings for ${name}`);
  return recipe;
}

/** Settings with addresses of this machine. */
const onThisMachine = (recipe: string, port: number, servers: readonly number[]): string =>
  recipe
    .replace(/\b(bind|listen) \S*80\b/, `$1 127.0.0.1:${port}`)
    .replaceAll(
      /10\.0\.0\.1(\d):4000/g,
      (_address, server: string) => `127.0.0.1:${servers[Number(server)]}`,
    );
