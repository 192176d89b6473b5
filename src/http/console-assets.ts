import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the console's page, beside the compiled code. */
const FOLDER = fileURLToPath(new URL('../../assets/console', import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

export interface Asset {
  readonly body: Buffer;
  readonly type: string;
  readonly etag: string;
}

/** The files of the console by their names. They are read at the first request. */
export function consoleAssets(): () => Promise<ReadonlyMap<string, Asset>> {
  let read: Promise<ReadonlyMap<string, Asset>> | undefined;
  return async () => await (read ??= readAssets());
}

async function readAssets(): Promise<ReadonlyMap<string, Asset>> {
  const names = (await readdir(FOLDER)).filter((name) => path.extname(name) in TYPES);
  const assets = names.map(async (name): Promise<[string, Asset]> => {
    const body = await readFile(path.join(FOLDER, name));
    const digest = createHash('sha256').update(body).digest('base64url');
    return [name, { body, type: TYPES[path.extname(name)] ?? '', etag: `"${digest}"` }];
  });
  return new Map(await Promise.all(assets));
}
