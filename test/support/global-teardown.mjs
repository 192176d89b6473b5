import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';

/** Stops what the global setup started, and removes the run's folders. */
export default async function tearDown() {
  await globalThis.flovoTestPostgres?.stop();
  const folder = process.env.FLOVO_TEST_FOLDER;
  if (folder === undefined) return;
  for (const name of await readdir(path.dirname(folder))) {
    if (name.startsWith(path.basename(folder))) {
      await rm(path.join(path.dirname(folder), name), { recursive: true, force: true });
    }
  }
}
