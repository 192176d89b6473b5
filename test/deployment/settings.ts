import { readFile } from 'node:fs/promises';

/** Environment variables as a manifest gives them to the server. */
export type Settings = Readonly<Record<string, string>>;

/** The names among these that the server does not read, by the sources of its configuration. */
export async function unknownSettings(names: readonly string[]): Promise<string[]> {
  const [config, secretFiles] = await Promise.all(
    ['src/config.ts', 'src/secret-files.ts'].map(async (file) => await readFile(file, 'utf8')),
  );
  const isKnown = (name: string) =>
    name.endsWith('_FILE')
      ? secretFiles?.includes(`'${name.slice(0, -'_FILE'.length)}'`)
      : config?.includes(`\n  ${name}: `);
  return names.filter((name) => isKnown(name) !== true);
}

/** The arguments of an instruction of the Dockerfile; of the last one, if there are several. */
export async function dockerfile(instruction: string): Promise<string> {
  const found = (await readFile('Dockerfile', 'utf8'))
    .split('\n')
    .findLast((line) => line.startsWith(`${instruction} `));
  if (found === undefined) throw new Error(`The Dockerfile has no ${instruction}`);
  return found.slice(instruction.length + 1);
}
