import type { ClusterHost } from '../cluster-host.js';
import type { Fault } from '../fault.js';
import { STRICT, WITHIN_TWO_SECONDS } from '../findings.js';
import { between } from '../span.js';

/** No fault, on a Redis Cluster: no read may be stale. */
export const clusterAlone: Fault<ClusterHost> = {
  name: 'none, on a Redis Cluster',
  about: 'three masters',
  tolerance: STRICT,
  act: async (_, span) => await span.rest(),
};

/** One node of a Redis Cluster is unreachable; the others are not. */
export const clusterNodeCutOff: Fault<ClusterHost> = {
  name: 'a node of a Redis Cluster cut off',
  about: 'for 2 s, by turns: connections refused, and connections that are open and silent',
  tolerance: WITHIN_TWO_SECONDS,
  async act({ redis }, span) {
    for (let turn = 0; turn === 0 || !span.isOver; turn++) {
      await span.pause(between(300, 900));
      const node = redis.nodes[turn % redis.nodes.length];
      if (turn % 2 === 0) node?.refuse();
      else node?.stall();
      await span.pause(2_000);
      await node?.resume();
      await span.pause(2_000);
    }
  },
};

/** Slots move from one master to another while clients use their keys. */
export const clusterSlotMigration: Fault<ClusterHost> = {
  name: 'slots of a Redis Cluster moved',
  about:
    'six nodes; the slots of organizations and of busy bots migrate from master to master, a few keys at a time',
  tolerance: WITHIN_TWO_SECONDS,
  // The circuit must stay closed, although six nodes share a few processors with everything else.
  options: { settings: { REDIS_TIMEOUT_MS: '2000' } },
  async act({ redis, fixture, history }, span) {
    do {
      for (const orgId of fixture.orgIds) {
        const [bot] = history.botsOf(orgId);
        for (const id of [orgId, bot?.id ?? orgId]) {
          const move = await redis.moveSlotOf(`{${id}}`);
          for (let keys = 1; keys <= 4; keys++) {
            await span.pause(between(0, 50));
            await move.moveKeys(keys);
          }
          await move.finish();
          await span.pause(between(50, 200));
        }
      }
    } while (!span.isOver);
    await span.pause(500);
  },
};

/** A replica replaces its master and lacks the master's last writes. */
export const clusterFailover: Fault<ClusterHost> = {
  name: 'failover in a Redis Cluster',
  about:
    'six nodes; by turns on request, because a master is frozen, and because one is killed; each rejoins later',
  tolerance: WITHIN_TWO_SECONDS,
  async act({ redis }, span) {
    const ways = ['request', 'freeze', 'kill'] as const;
    for (let turn = 0; turn < ways.length || !span.isOver; turn++) {
      await span.pause(between(300, 900));
      const rejoin = await redis.failOver(ways[turn % ways.length] ?? 'kill');
      await span.pause(1_000);
      await rejoin();
      await span.pause(1_000);
    }
  },
};
