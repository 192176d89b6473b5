import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';

/** An object of Kubernetes, as far as every object has the same form. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
}

/**
 * The objects in the YAML files of a folder and of the folders in it, by their file.
 * @throws YAMLParseError for text that is not YAML, or has a key twice
 */
export async function readManifests(folder: string): Promise<Map<string, Manifest>> {
  const files = (await readdir(folder, { recursive: true })).filter((file) => file.endsWith('.yaml'));
  const manifests = new Map<string, Manifest>();
  for (const file of files) {
    const [document, ...more] = parseAllDocuments(await readFile(path.join(folder, file), 'utf8'));
    if (!document || !('toJS' in document) || more.length > 0)
      throw new Error(`${file} must hold one object`);
    for (const error of document.errors) throw error;
    manifests.set(file, document.toJS() as Manifest);
  }
  return manifests;
}

/**
 * Compares objects with the types of the Kubernetes API: required and unknown fields, and the types of values.
 * @returns a line for each mistake, with the number of the object, counted from 0
 */
export async function mistakesIn(manifests: readonly Manifest[]): Promise<string[]> {
  // In the checkout, so that the compiler finds the types.
  const folder = await mkdtemp(`${process.env.FLOVO_TEST_FOLDER}-manifests-`);
  await Promise.all(
    manifests.map(
      async (manifest, number) => await writeFile(path.join(folder, `${number}.ts`), typed(manifest)),
    ),
  );
  await writeFile(path.join(folder, 'package.json'), '{ "type": "module" }');
  const options = { module: 'nodenext', strict: true, noEmit: true, types: [] };
  await writeFile(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: options }));
  const output = await new Promise<string>((resolve) => {
    const compiler = path.resolve('node_modules/typescript/bin/tsc');
    execFile(
      process.execPath,
      [compiler, '-p', folder, '--pretty', 'false'],
      { cwd: folder },
      (_error, said) => resolve(said),
    );
  });
  return output.split('\n').filter((line) => line !== '');
}

/** A module that the compiler refuses if the object does not have the type of its kind. */
function typed(manifest: Manifest): string {
  const { apiVersion, kind } = manifest;
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['core', apiVersion];
  const types = `kubernetes-types/${group?.replace('.k8s.io', '')}/${version}.js`;
  return [
    `import type { ${kind} } from '${types}';`,
    `export const manifest: ${kind} = ${JSON.stringify(manifest, null, 2)};`,
  ].join('\n');
}
