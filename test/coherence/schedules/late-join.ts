import { setTimeout as sleep } from 'node:timers/promises';

import type { BotRecord } from '../history.js';
import { STRICT } from '../findings.js';
import type { Hold } from '../../support/tcp-proxy.js';
import { required, type Berth } from '../fleet.js';
import { readBots } from '../readings.js';
import type { Schedule } from '../schedule.js';
import { addBot, caught, delayLogs, holdRow, readerAndWriter, readEverywhere } from './gates.js';

/** Long enough for a reader to come to the point where it might join another (ms). */
const JOINED_MS = 60;

const lateJoin = (
  name: string,
  isCached: boolean,
  hold: (reader: Berth, bot: BotRecord) => Hold,
): Schedule => ({
  name,
  tolerance: STRICT,
  async run(stage) {
    const { workload, mutations } = stage;
    const { reader, writer } = readerAndWriter(stage);
    const bot = await addBot(stage);
    if (isCached) await readEverywhere(stage, bot, 2);
    await delayLogs(stage);
    const held = hold(reader, bot);
    const earlyRead = workload.perform(readBots([bot]), reader.server);
    await caught(held);
    await mutations.update(writer.server, bot);
    const lateRead = workload.perform(readBots([bot]), reader.server);
    await sleep(JOINED_MS);
    held.release();
    await Promise.all([earlyRead, lateRead]);
    await readEverywhere(stage, bot);
  },
});

/** A load from PostgreSQL is under way, the bot is changed, and then it is read again. */
export const joinAfterWrite = lateJoin('a read while an older load is under way', false, (reader, bot) =>
  holdRow(reader, bot, 'down'),
);

/** A read of Redis is under way, whatever for, the bot is changed, and then it is read again. */
export const shareAfterWrite = lateJoin('a read while an older read of Redis is under way', true, (reader) =>
  required(reader.redis).hold(() => true, 'down'),
);
