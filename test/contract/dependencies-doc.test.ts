import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from '@jest/globals';

import { addBots, addOrganization, addUser } from '../support/people.js';
import { startServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis } from '../support/services.js';

interface Manifest {
  readonly version: string;
  readonly license: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

/** A package in a lock file. */
interface Locked {
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly optional?: boolean;
}

/** Where npm installs from unless the lock file says otherwise. */
const REGISTRY = 'https://registry.npmjs.org/';

const read = (file: string): string => readFileSync(file, 'utf8');
const json = <Value>(file: string): Value => JSON.parse(read(file)) as Value;
const { dependencies, devDependencies } = json<Manifest>('package.json');

/** The rows of the table of production dependencies. */
const rows = read('docs/dependencies.md')
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => {
    const [, name = '', does = '', why = '', code = '', license = ''] = line
      .split('|')
      .map((cell) => cell.trim());
    return { name: name.replaceAll('`', ''), does, why, code, license };
  });

describe('the table of production dependencies', () => {
  test('has each of package.json, and no other', () => {
    expect(rows.map(({ name }) => name).toSorted()).toEqual(Object.keys(dependencies).toSorted());
  });

  test.each(rows)(
    'says what $name does and why it is there, and its licence',
    ({ name, does, why, license }) => {
      expect(does).not.toBe('');
      expect(why).not.toBe('');
      expect(license).toBe(json<Manifest>(`node_modules/${name}/package.json`).license);
    },
  );

  test('names each package that makes code from text, and no other', async () => {
    const [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    const orgId = await addOrganization(database.sql);
    await addBots(database.sql, orgId, 1);
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const hook = pathToFileURL(path.join(process.cwd(), 'test/contract/record-evaluation.mjs')).href;
    const server = await startServerProcess({
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      NODE_OPTIONS: `--import=${hook}`,
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
    });
    try {
      const client = server.client(token);
      for (let time = 0; time < 3; time++) {
        await client.sendText('query ($id: ID!) { bots(orgId: $id) { items { name stats { id } } } }', {
          id: orgId,
        });
        await client.sendText(
          'mutation ($id: ID!) { createBot(input: { orgId: $id, name: "new" }) { id } }',
          { id: orgId },
        );
        await client.sendText('{ nothing }');
      }
    } finally {
      await server.end('SIGTERM');
      await redis.stop();
      await database.drop();
    }
    const makers = server.output.filter((line) => line.startsWith('CODE ')).map((line) => line.slice(5));
    const named = rows.flatMap(({ code }) => [...code.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name));
    expect([...new Set(makers)].toSorted()).toEqual([...new Set(named)].toSorted());
  });
});

describe('what npm installs', () => {
  test('has exact versions', () => {
    for (const version of Object.values({ ...dependencies, ...devDependencies }))
      expect(version).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/);
  });

  test.each(['package-lock.json', 'bench/package-lock.json', 'examples/any-server/package-lock.json'])(
    'is locked with its digest in %s, and comes from the registry',
    (file) => {
      const { packages } = json<{
        packages: Record<string, Locked>;
      }>(file);
      const loose = Object.entries(packages)
        .filter(([name, { link }]) => name.includes('node_modules/') && link !== true)
        // Programs of development tools for other machines than the one that wrote the file.
        .filter(([, { dev, optional }]) => !(dev === true && optional === true))
        .filter(
          ([, { resolved, integrity = '' }]) =>
            !integrity.startsWith('sha512-') || !(resolved ?? REGISTRY).startsWith(REGISTRY),
        );
      expect(loose.map(([name]) => name)).toEqual([]);
    },
  );

  test('is what the lock file says, in the image and in the checks', () => {
    for (const file of ['Dockerfile', '.ci/run']) expect(read(file)).toMatch(/\bnpm ci\b/);
    expect(read('Dockerfile')).not.toMatch(/npm (install|i)\b/);
  });
});
