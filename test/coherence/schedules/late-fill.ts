import { setTimeout as sleep } from 'node:timers/promises';

import { STRICT } from '../findings.js';
import { readBots } from '../readings.js';
import type { Schedule } from '../schedule.js';
import { addBot, caught, delayLogs, holdRow, readerAndWriter, readEverywhere } from './gates.js';

/** Long enough for a fill to reach Redis; nobody waits for it (ms). */
const FILLED_MS = 40;

const lateFill = (name: string, evicting: boolean): Schedule => ({
  name,
  tolerance: STRICT,
  async run(stage) {
    const { workload, mutations, redis } = stage;
    const { reader, writer } = readerAndWriter(stage);
    const bot = await addBot(stage);
    await delayLogs(stage);
    const row = holdRow(reader, bot, 'down');
    const slowRead = workload.perform(readBots([bot]), reader.server);
    await caught(row);
    await mutations.update(writer.server, bot);
    if (evicting) {
      await redis.admin(async (client) => await client.del(`bot:${bot.id}:gen`));
      await workload.perform(readBots([bot]), writer.server);
    }
    row.release();
    await slowRead;
    await sleep(FILLED_MS);
    await readEverywhere(stage, bot);
  },
});

/** A value is read, the bot is changed, and then the value is stored. */
export const fillAfterWrite = lateFill('a fill after the write', false);

/** As {@link fillAfterWrite}, and meanwhile the generation is evicted and made anew. */
export const fillAfterEviction = lateFill('a fill after the write and an eviction', true);
