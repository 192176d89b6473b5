import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { withLock } from './services/lock.js';
import { processIdentity } from './services/owned-process.js';

/**
 * Makes this process the only server of a data folder, because it stops the folder's services when it ends. The claim
 * of a server that was killed is taken over.
 * @returns a function that gives the claim up.
 * @throws Error naming the process that has the folder.
 */
export async function claimDataDir(dataDir: string): Promise<() => Promise<void>> {
  await mkdir(dataDir, { recursive: true });
  const file = path.join(dataDir, 'server.json');
  await withLock(file, async () => {
    const kept = (await readFile(file, 'utf8').catch(() => '')) || '{}';
    const { pid = 0, identity } = JSON.parse(kept) as { pid?: number; identity?: string };
    if (pid !== process.pid && identity !== undefined && processIdentity(pid) === identity)
      throw new Error(
        `Process ${pid} is already serving from ${dataDir}. Stop it, or give this one a folder and a port of its own:\n` +
          `  DATA_DIR=.data-2 PORT=4001 npm start`,
      );
    await writeFile(file, JSON.stringify({ pid: process.pid, identity: processIdentity(process.pid) }));
  });
  return async () => await rm(file, { force: true });
}
