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
