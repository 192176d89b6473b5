import type { Cluster, Redis } from 'ioredis';

/** The error of a command when a cluster has moved some of its keys to another node, but not all. */
const SPLIT = /^TRYAGAIN\b|Script attempted to access a non local key/;

/** Whether a command was refused because the slot of its keys is being moved. The command did nothing. */
export const isSplit = (error: unknown): boolean => error instanceof Error && SPLIT.test(error.message);

/** Returns the reply to a command, or `instead` if a cluster is moving its keys. */
export async function unlessSplit<Reply, Instead>(
  reply: Promise<Reply>,
  instead: Instead,
): Promise<Reply | Instead> {
  try {
    return await reply;
  } catch (error) {
    if (isSplit(error)) return instead;
    throw error;
  }
}

export async function unlink(client: Redis | Cluster, keys: readonly string[]): Promise<void> {
  try {
    await client.unlink(...keys);
  } catch (error) {
    if (!isSplit(error)) throw error;
    await unlinkEach(client, keys);
  }
}

/**
 * Removes keys one by one: while a slot moves, each key is on one of two nodes, and a command for it alone finds it.
 */
export async function unlinkEach(client: Redis | Cluster, keys: readonly string[]): Promise<void> {
  await Promise.all(keys.map(async (key) => await client.unlink(key)));
}
