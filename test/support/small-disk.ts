import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A file system that is full soon. */
export interface SmallDisk {
  readonly folder: string;
  /** Nothing may have a file open there any more. */
  unmount(): Promise<void>;
}

/**
 * Mounts a file system in memory. Returns undefined if this account may not mount.
 * @param like a file of the account that will write there
 */
export async function mountSmallDisk(megabytes: number, like: string): Promise<SmallDisk | undefined> {
  const folder = await mkdtemp(`${process.env.FLOVO_TEST_FOLDER}-disk-`);
  const { uid, gid } = await stat(like);
  const options = `size=${megabytes}m,mode=0700,uid=${uid},gid=${gid}`;
  try {
    await run('mount', ['-t', 'tmpfs', '-o', options, 'flovo-test', folder]);
  } catch {
    await rm(folder, { recursive: true });
    return undefined;
  }
  return {
    folder,
    async unmount() {
      await run('umount', ['--lazy', folder]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
