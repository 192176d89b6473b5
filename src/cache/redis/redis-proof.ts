import keySlot from 'cluster-key-slot';
import { Cluster, type Redis } from 'ioredis';

import type { KeyExample } from '../core/keys.js';
import { isSplit } from './moving-slots.js';
import type { RedisClient } from './redis-client.js';
import { RedisRefusalError, refusalOf } from './redis-refusal.js';
import { PROVE } from './scripts.js';

/** How many names are tried to find one whose slot belongs to a master. */
const MAX_NAMES = 10_000;

/**
 * Proves that Redis does everything that the cache needs, with a key of each kind. It writes, because a demoted
 * master still answers reads. In a cluster it tries every master: a master that hangs would cost a timeout each time
 * the circuit closes. If a master is missing, the circuits of several processes would open and close at different
 * times, and one process would read values that another cannot invalidate.
 *
 * @param examples makes unused keys, one of each kind, for an entity of this name.
 * @throws RedisRefusalError naming the refused command; another error if Redis cannot be reached.
 */
export async function proveUsable(
  client: RedisClient,
  examples: (name: string) => readonly KeyExample[],
): Promise<void> {
  if (!(client instanceof Cluster)) {
    await Promise.all([client.ping(), prove(client, examples('probe'))]);
    return;
  }
  const masters = await mastersOf(client);
  await Promise.all([
    ...masters.map(async (master) => await master.ping()),
    ...namesOnEachMaster(client).map(async (name) => await prove(client, examples(name))),
  ]);
}

async function prove(client: RedisClient, examples: readonly KeyExample[]): Promise<void> {
  await Promise.all(
    examples.map(async ({ key, pattern, isIndex }) => {
      let refused: unknown;
      try {
        refused = await client.eval(PROVE, 1, key, isIndex ? 'index' : '');
      } catch (error) {
        // Redis replied, and every command handles a moving slot itself.
        if (isSplit(error)) return;
        const refusal = error instanceof Error ? refusalOf(error) : undefined;
        throw refusal ? new RedisRefusalError('EVAL', pattern, refusal.message) : error;
      }
      if (!Array.isArray(refused)) return;
      const [command, message] = refused as [string, string];
      if (/^(LOADING|MASTERDOWN|CLUSTERDOWN)\b/.test(message)) throw new Error(message);
      throw new RedisRefusalError(command, pattern, message);
    }),
  );
}

/** The masters that the cluster itself lists: the client forgets a node as soon as its connection is lost. */
async function mastersOf(client: Cluster): Promise<Redis[]> {
  await new Promise<void>((resolve, reject) => {
    client.refreshSlotsCache((error) => (error ? reject(error) : resolve()));
  });
  const masters = client.nodes('master');
  const owners = new Set(client.slots.map(([owner]) => owner));
  if (masters.length < owners.size) throw new Error('a node of the cluster has been lost');
  return masters;
}

/** A name for each master, such that its keys are in one of the master's slots: each node has its own access rules. */
function namesOnEachMaster({ slots }: Cluster): string[] {
  const names = new Map<string, string>();
  const owners = new Set(slots.map(([owner]) => owner)).size;
  for (let i = 0; i < MAX_NAMES && names.size < owners; i++) {
    const name = `probe${i}`;
    const [owner] = slots[keySlot(name)] ?? [];
    if (owner !== undefined && !names.has(owner)) names.set(owner, name);
  }
  return [...names.values()];
}
