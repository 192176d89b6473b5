import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import type { SentinelHost } from '../sentinel-host.js';
import { between } from '../span.js';

/** Sentinel promotes a replica that lacks the last writes, invalidations among them. */
export const failover: Fault<SentinelHost> = {
  name: 'failover to a lagging replica',
  about:
    'Sentinel; replication held back for 1 to 2 s of writes, then the master by turns killed, and frozen and thawed later',
  tolerance: WITHIN_TWO_SECONDS,
  async act({ redis }, span) {
    for (let turn = 0; turn === 0 || !span.isOver; turn++) {
      await redis.addReplica();
      await span.pause(between(200, 600));
      redis.holdReplication();
      await span.pause(between(1_000, 2_000));
      const { thaw } = await redis.failOver(turn % 2 === 0 ? 'kill' : 'freeze');
      await span.pause(1_500);
      thaw();
      await span.pause(1_500);
    }
  },
};
