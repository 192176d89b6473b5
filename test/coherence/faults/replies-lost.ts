import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { required } from '../fleet.js';
import { between } from '../span.js';

/** How long to wait for a write, and the time within which a server has working connections again (ms). */
const MAX_WAIT_MS = 1_000;
const RECONNECTED_MS = 500;

/** Cuts a server's connections to PostgreSQL after a write was committed and before its reply arrives. */
export const repliesLost: Fault = {
  name: 'connections lost between commit and reply',
  about: 'of one server after another',
  tolerance: WITHIN_TWO_SECONDS,
  options: { proxies: { postgres: true } },
  async act({ fleet, history }, span) {
    let count = 0;
    for (let turn = 0; turn === 0 || !span.isOver; turn++) {
      const { postgres, server } = fleet.berth(turn % fleet.berths.length);
      const proxy = required(postgres);
      const endExcuse = server.excuse();
      const reply = proxy.hold(
        (text, opening) =>
          !opening.includes('invalidation log') && /(INSERT 0|UPDATE|DELETE) [1-9]/.test(text),
        'down',
      );
      const isCaught = await Promise.race([reply.caught.then(() => true), span.pause(MAX_WAIT_MS)]);
      if (isCaught === true) count += 1;
      proxy.cut();
      reply.release();
      await span.pause(RECONNECTED_MS);
      endExcuse();
      await span.pause(between(50, 300));
    }
    history.findings.notes.push(`${count} replies to writes were lost`);
  },
};
