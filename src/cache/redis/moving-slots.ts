import type { Cluster, Redis } from 'ioredis';

/** The refusal of a command some of whose keys have moved to another node of a cluster, and some have not. */
const SPLIT = /^TRYAGAIN\b|Script attempted to access a non local key/;

/** Whether a command was refused because the slot of its keys is being moved. None of it has been done. */
export const isSplit = (error: unknown): boolean => error instanceof Error && SPLIT.test(error.message);

/** The reply to a command; something else instead if its keys are just being moved by a cluster. */
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

/** Each key of a slot that is being moved is in one place or the other: asked for alone, it is found. */
export async function unlinkEach(client: Redis | Cluster, keys: readonly string[]): Promise<void> {
  await Promise.all(keys.map(async (key) => await client.unlink(key)));
}
