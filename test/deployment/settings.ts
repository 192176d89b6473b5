import { readFile } from 'node:fs/promises';

import { SETTINGS } from '../../src/settings.js';

/** Environment variables as a manifest gives them to the server. */
export type Settings = Readonly<Record<string, string>>;

/** The names among these that the server does not read. */
export async function unknownSettings(names: readonly string[]): Promise<string[]> {
  const secretFiles = await readFile('src/secret-files.ts', 'utf8');
  const isKnown = (name: string): boolean =>
    name.endsWith('_FILE')
      ? secretFiles.includes(`'${name.slice(0, -'_FILE'.length)}'`)
      : name in SETTINGS.shape;
  return names.filter((name) => !isKnown(name));
}

/** The arguments of an instruction of the Dockerfile; of the last one, if there are several. */
export async function dockerfile(instruction: string): Promise<string> {
  const found = (await readFile('Dockerfile', 'utf8'))
    .split('\n')
    .findLast((line) => line.startsWith(`${instruction} `));
  if (found === undefined) throw new Error(`The Dockerfile has no ${instruction}`);
  return found.slice(instruction.length + 1);
}
