import { setTimeout as pause } from 'node:timers/promises';
import getPort from 'get-port';

import type { Redis } from 'ioredis';

import type { RedisService } from '../../src/dev/services/redis.js';

/** An empty Redis server in cluster mode, and a client of it. */
export interface ClusterCandidate {
  readonly redis: Pick<RedisService, 'port'>;
  readonly admin: Redis;
}

/** The slots of a master: those from the first to the last. */
export type SlotRange = readonly [first: number, last: number];

/** Settings of a Redis server that becomes a node of a cluster. */
export const CLUSTER_NODE_SETTINGS: readonly string[] = [
  '--cluster-enabled',
  'yes',
  '--cluster-node-timeout',
  '2000',
  // The cluster still serves the other slots if a node is down.
  '--cluster-require-full-coverage',
  'no',
];

const SLOTS = 16_384;
/** Offset of the port between nodes from the port for clients. */
const BUS_OFFSET = 10_000;
const FORM_MS = 15_000;

/**
 * Forms a Redis Cluster of these nodes, distributes the slots among the first `masters` of them, and waits until each node
 * knows the owners. Returns the slots of each master.
 */
export async function formRedisCluster(
  nodes: readonly ClusterCandidate[],
  masters = nodes.length,
): Promise<SlotRange[]> {
  const ranges = Array.from({ length: masters }, (_, i): SlotRange => [
    Math.floor((i * SLOTS) / masters),
    Math.floor(((i + 1) * SLOTS) / masters) - 1,
  ]);
  for (const [i, { admin }] of nodes.entries()) {
    await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
    const range = ranges[i];
    if (range) await admin.call('CLUSTER', 'ADDSLOTSRANGE', ...range);
  }
  const [first, ...rest] = nodes;
  for (const { redis } of rest) {
    await first?.admin.call('CLUSTER', 'MEET', '127.0.0.1', redis.port, redis.port + BUS_OFFSET);
  }
  const endsAt = performance.now() + FORM_MS;
  for (const { admin } of nodes) {
    while (!isWhole(await admin.cluster('INFO'))) {
      if (performance.now() > endsAt) throw new Error(`The Redis Cluster is not whole after ${FORM_MS} ms`);
      await pause(10);
    }
  }
  return ranges;
}

const isWhole = (info: string): boolean =>
  info.includes('cluster_state:ok') && info.includes(`cluster_slots_ok:${SLOTS}`);

/** A port that is free now, together with the node's second port. */
export async function freeClusterPort(): Promise<number> {
  for (;;) {
    const port = await getPort();
    if (port + BUS_OFFSET < 65_536) return port;
  }
}
