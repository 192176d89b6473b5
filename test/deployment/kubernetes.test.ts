import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { Deployment } from 'kubernetes-types/apps/v1.js';
import type { Job } from 'kubernetes-types/batch/v1.js';
import type { PodSpec, Service } from 'kubernetes-types/core/v1.js';

import { mistakesIn, readManifests, type Manifest } from './manifests.js';
import { dockerfile, unknownSettings, type Settings } from './settings.js';

const FOLDER = 'deploy/kubernetes';
/** `src/shutdown.ts` ends a server that takes longer to stop. */
const MAX_CLOSE_MS = 15_000;

interface Kustomization extends Manifest {
  readonly resources: readonly string[];
  readonly images: readonly { readonly name: string; readonly newTag: string }[];
  readonly configMapGenerator?: readonly { readonly name: string; readonly literals: readonly string[] }[];
}

interface ServiceMonitor extends Manifest {
  readonly spec: {
    readonly selector: { readonly matchLabels: Record<string, string> };
    readonly endpoints: readonly { readonly port: string; readonly path: string }[];
  };
}

let manifests: Map<string, Manifest>;
let deployment: Deployment;
let server: Kustomization;
let migration: Kustomization;
let literals: readonly string[];

const get = <Kind>(file: string): Kind => {
  const found = manifests.get(file);
  if (!found) throw new Error(`There is no ${file}`);
  return found as Kind;
};
const podOf = (kind: Deployment | Job): PodSpec => kind.spec?.template.spec ?? { containers: [] };
const containerOf = (kind: Deployment | Job) => {
  const [container, ...more] = podOf(kind).containers;
  if (!container || more.length > 0) throw new Error('There must be one container');
  return container;
};
/** The variables of the ConfigMap and of the container. */
const settings = (): Settings =>
  Object.fromEntries([
    ...literals.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    ...(containerOf(deployment).env ?? []).map(({ name, value }) => [name, value]),
  ]) as Settings;

beforeAll(async () => {
  manifests = await readManifests(FOLDER);
  deployment = get('deployment.yaml');
  server = get('kustomization.yaml');
  migration = get('migration/kustomization.yaml');
  literals = server.configMapGenerator?.[0]?.literals ?? [];
});

describe('the manifests for Kubernetes', () => {
  test('have the fields that the Kubernetes API knows and requires, with values of their types', async () => {
    const objects = [...manifests.values()].filter(
      ({ kind }) => !['Kustomization', 'ServiceMonitor'].includes(kind),
    );
    expect(objects.length).toBeGreaterThan(5);
    const misspelt = {
      apiVersion: 'v1',
      kind: 'Service',
      spec: { ports: [{ port: 80, targettPort: 'http' }] },
    };
    const mistakes = await mistakesIn([...objects, misspelt]);
    expect(mistakes.filter((line) => !line.startsWith(`${objects.length}.ts`))).toEqual([]);
    expect(mistakes.join('\n')).toContain('targettPort');
  }, 60_000);

  test('are all listed, at the version of this release', async () => {
    const { version } = JSON.parse(await readFile('package.json', 'utf8')) as { version: string };
    const listed = [server.resources, migration.resources.map((file) => `migration/${file}`)].flat();
    const apart = ['kustomization.yaml', 'migration/kustomization.yaml', 'service-monitor.yaml'];
    expect([...listed, ...apart].toSorted()).toEqual([...manifests.keys()].toSorted());
    for (const { images } of [server, migration]) expect(images).toMatchObject([{ newTag: version }]);
  });

  test('give the server variables that it knows', async () => {
    expect(literals.filter((line) => typeof line !== 'string' || !/^[A-Z_]+=/.test(line))).toEqual([]);
    const job = containerOf(get<Job>('migration/job.yaml')).env ?? [];
    expect(await unknownSettings([...Object.keys(settings()), ...job.map(({ name }) => name)])).toEqual([]);
    expect(await unknownSettings(['CACHE_PREFIX', 'CACHE_PREFFIX', 'PORT_FILE'])).toEqual([
      'CACHE_PREFFIX',
      'PORT_FILE',
    ]);
    expect(containerOf(deployment).envFrom).toEqual([
      { configMapRef: { name: server.configMapGenerator?.[0]?.name } },
    ]);
  });

  test('let a pod stop for as long as the server takes at most', () => {
    const delayMs = Number(settings().SHUTDOWN_DELAY_MS);
    expect(delayMs).toBeGreaterThan(0);
    const graceMs = (podOf(deployment).terminationGracePeriodSeconds ?? 0) * 1_000;
    expect(graceMs).toBeGreaterThanOrEqual(delayMs + MAX_CLOSE_MS);
  });

  test('run the programs of the image, on its port', async () => {
    const command = JSON.parse(await dockerfile('CMD')) as string[];
    expect(containerOf(deployment)).not.toHaveProperty('command');
    const migrate = containerOf(get<Job>('migration/job.yaml')).command;
    expect(migrate).toEqual([...command.slice(0, -1), 'dist/migrate.js']);
    await expect(readFile('src/migrate.ts')).resolves.toBeDefined();
    expect(containerOf(deployment).ports).toMatchObject([
      { containerPort: Number(await dockerfile('EXPOSE')) },
    ]);
    expect(await dockerfile('USER')).toBe('node');
  });

  test.each(['deployment.yaml', 'migration/job.yaml'])(
    '%s runs without rights, and reads secrets from files that its documentation creates',
    async (file) => {
      const kind = get<Deployment | Job>(file);
      const [pod, container] = [podOf(kind), containerOf(kind)];
      expect(pod).toMatchObject({
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, runAsUser: 1_000, seccompProfile: { type: 'RuntimeDefault' } },
      });
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      const secret = pod.volumes?.[0]?.secret?.secretName;
      const [, given = ''] =
        new RegExp(`create secret generic ${secret} ((?:.*\\\\\\n)*.*)`).exec(
          await readFile('docs/operations/kubernetes.md', 'utf8'),
        ) ?? [];
      const keys = [...given.matchAll(/--from-(?:file|literal)=([\w-]+)=/g)].map(([, key]) => key);
      const files = (container.env ?? []).filter(({ name }) => name.endsWith('_FILE'));
      expect(files.map(({ value }) => path.dirname(value ?? ''))).toEqual(
        files.map(() => container.volumeMounts?.[0]?.mountPath),
      );
      expect(files.map(({ value }) => path.basename(value ?? ''))).toEqual(keys);
    },
  );

  test('reach the pods by the labels and the port that they have', () => {
    const labels = deployment.spec?.template.metadata?.labels;
    const service = get<Service>('service.yaml');
    const [port] = containerOf(deployment).ports ?? [];
    expect(service.spec).toMatchObject({ selector: labels, ports: [{ targetPort: port?.name }] });
    const monitor = get<ServiceMonitor>('service-monitor.yaml').spec;
    expect(service.metadata?.labels).toEqual(monitor.selector.matchLabels);
    expect(monitor.endpoints).toMatchObject([{ port: service.spec?.ports?.[0]?.name, path: '/metrics' }]);
  });
});
