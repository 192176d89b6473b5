import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';

/** The first program of that name in the folders of PATH, as an absolute path, or undefined. */
export async function findOnPath(name: string): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(path.delimiter)) {
    if (folder === '') continue;
    const file = path.resolve(folder, name);
    const usable = await access(file, constants.X_OK)
      .then(() => stat(file))
      .catch(() => undefined);
    if (usable?.isFile() === true) return file;
  }
  return undefined;
}
