import { setTimeout as sleep } from 'node:timers/promises';

import type { BotRecord } from '../history.js';
import { STRICT } from '../findings.js';
import type { Hold } from '../../support/tcp-proxy.js';
import { required, type Berth } from '../fleet.js';
import { readBots } from '../readings.js';
import type { Schedule } from '../schedule.js';
import { addBot, caught, delayLogs, holdRow, readerAndWriter, readEverywhere } from './gates.js';

/** Long enough for a reader to reach the point where it could join another read (ms). */
const JOINED_MS = 250;

const lateJoin = (
  name: string,
  isCached: boolean,
  hold: (reader: Berth, bot: BotRecord) => Hold,
): Schedule => ({
  name,
  tolerance: STRICT,
  async act(run) {
    const { workload, mutations } = run;
    const { reader, writer } = readerAndWriter(run);
    const bot = await addBot(run);
    if (isCached) await readEverywhere(run, bot, 2);
    await delayLogs(run);
    const held = hold(reader, bot);
    const earlyRead = workload.perform(readBots([bot]), reader.server);
    await caught(held);
    await mutations.update(writer.server, bot);
    const lateRead = workload.perform(readBots([bot]), reader.server);
    await sleep(JOINED_MS);
    held.release();
    await Promise.all([earlyRead, lateRead]);
    await readEverywhere(run, bot);
  },
});

/** While a load from PostgreSQL is pending, the bot is changed and then read again. */
export const joinAfterWrite = lateJoin('a read while an older load is pending', false, (reader, bot) =>
  holdRow(reader, bot, 'down'),
);

/** While a read of Redis is pending, the bot is changed and then read again. */
export const shareAfterWrite = lateJoin('a read while an older read of Redis is pending', true, (reader) =>
  required(reader.redis).hold(() => true, 'down'),
);
