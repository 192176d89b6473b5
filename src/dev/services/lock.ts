import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { POLL_MS, processIdentity } from './process.js';

/** How long to wait for another process, in milliseconds: it may be downloading over a slow line. */
const WAIT_MS = 5 * 60_000;
/** A lock file without a readable owner this old was left by a process that died while writing it. */
const UNREADABLE_MS = 5_000;

/**
 * Runs `action` while holding the lock file, which names its owner, so that of several processes (or callers in
 * one process) only one is inside. The lock of an owner that has died is taken over.
 *
 * @throws what `action` throws; an error if the file cannot be written, or is held for longer than five minutes
 */
export async function withLock<T>(
  file: string,
  log: (line: string) => void,
  action: () => Promise<T>,
): Promise<T> {
  await acquire(file, log);
  try {
    return await action();
  } finally {
    await rm(file, { force: true });
  }
}

async function acquire(file: string, log: (line: string) => void): Promise<void> {
  const own = JSON.stringify({ pid: process.pid, identity: processIdentity(process.pid) });
  const start = performance.now();
  let told = false;
  while (!(await create(file, own))) {
    const held = await readFile(file, 'utf8').catch(() => undefined);
    if (held === undefined) continue;
    if (await isStale(file, held)) {
      await takeAway(file, held);
      continue;
    }
    const waited = performance.now() - start;
    if (waited > WAIT_MS) throw new Error(`${file} has been held for five minutes by ${held}; giving up.`);
    if (!told && waited > 1_000) {
      told = true;
      log(`waiting for process ${parseOwner(held)?.pid ?? ''}, which is at work in ${path.dirname(file)}`);
    }
    await delay(POLL_MS);
  }
}

async function create(file: string, content: string): Promise<boolean> {
  try {
    await writeFile(file, content, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function isStale(file: string, content: string): Promise<boolean> {
  const owner = parseOwner(content);
  if (owner !== undefined) return processIdentity(owner.pid) !== owner.identity;
  return (await age(file)) > UNREADABLE_MS;
}

/**
 * Removes a dead owner's lock. Two processes that both saw the dead owner must not both remove the file, for the
 * second would remove the first one's new lock: a second file lets only one of them look again and remove.
 */
async function takeAway(file: string, content: string): Promise<void> {
  const guard = `${file}.takeover`;
  if (!(await create(guard, ''))) {
    if ((await age(guard)) > UNREADABLE_MS) await rm(guard, { force: true });
    await delay(POLL_MS);
    return;
  }
  try {
    const current = await readFile(file, 'utf8').catch(() => undefined);
    if (current === content) await rm(file, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

function parseOwner(content: string): { pid: number; identity: string } | undefined {
  try {
    const owner: unknown = JSON.parse(content);
    if (typeof owner !== 'object' || owner === null) return undefined;
    const { pid, identity } = owner as Record<string, unknown>;
    return typeof pid === 'number' && typeof identity === 'string' ? { pid, identity } : undefined;
  } catch {
    return undefined;
  }
}

async function age(file: string): Promise<number> {
  const found = await stat(file).catch(() => undefined);
  return found === undefined ? 0 : Date.now() - found.mtimeMs;
}
