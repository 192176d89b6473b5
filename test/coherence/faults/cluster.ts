import type { ClusterHost } from '../cluster-host.js';
import type { Fault } from '../fault.js';
import { STRICT, WITHIN_TWO_SECONDS } from '../findings.js';
import { between } from '../span.js';

/** Nothing goes wrong, on a Redis Cluster: not one read may be stale. */
export const clusterAlone: Fault<ClusterHost> = {
  name: 'none, on a Redis Cluster',
  about: 'three masters',
  tolerance: STRICT,
  act: async (_, span) => await span.rest(),
};

/** One node of a Redis Cluster cannot be reached, the others can. */
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

/** Slots move from one master to another while their keys are used. */
export const clusterSlotMigration: Fault<ClusterHost> = {
  name: 'slots of a Redis Cluster moved',
  about: 'six nodes; the slots of organizations and of busy bots migrate from master to master, key by key',
  tolerance: WITHIN_TWO_SECONDS,
  async act({ redis, world, history }, span) {
    do {
      for (const orgId of world.orgIds) {
        const [bot] = history.botsOf(orgId);
        for (const id of [orgId, bot?.id ?? orgId]) {
          await redis.migrate(await redis.slotOf(`{${id}}`));
          await span.pause(between(50, 200));
        }
      }
    } while (!span.isOver);
    await span.pause(500);
  },
};

/** A replica takes over from its master, without the writes that have not reached it. */
export const clusterFailover: Fault<ClusterHost> = {
  name: 'failover in a Redis Cluster',
  about: 'six nodes; by turns on request, and because a master is frozen, which is thawed later',
  tolerance: WITHIN_TWO_SECONDS,
  async act({ redis }, span) {
    for (let turn = 0; turn < 2 || !span.isOver; turn++) {
      await span.pause(between(300, 900));
      const rejoin = await redis.failOver(turn % 2 === 0 ? 'request' : 'freeze');
      await span.pause(1_000);
      await rejoin();
      await span.pause(1_000);
    }
  },
};
