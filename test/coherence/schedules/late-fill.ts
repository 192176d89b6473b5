import { setTimeout as sleep } from 'node:timers/promises';

import { STRICT } from '../findings.js';
import { readBots } from '../readings.js';
import type { Schedule } from '../schedule.js';
import { addBot, caught, delayLogs, holdRow, readerAndWriter, readEverywhere } from './gates.js';

/** Long enough for a fill to reach Redis; the server does not wait for fills (ms). */
const FILLED_MS = 40;

const lateFill = (name: string, evictions: number): Schedule => ({
  name,
  tolerance: STRICT,
  async act(run) {
    const { workload, mutations, redis } = run;
    const { reader, writer } = readerAndWriter(run);
    const bot = await addBot(run);
    await delayLogs(run);
    const row = holdRow(reader, bot, 'down');
    const slowRead = workload.perform(readBots([bot]), reader.server);
    await caught(row);
    await mutations.update(writer.server, bot);
    // The first read after an eviction tells of the write and adds it to the generation; the second finds it known.
    for (let evicted = 0; evicted < evictions; evicted++) {
      await redis.admin(async (client) => await client.del(`bot:${bot.id}:gen`));
      await workload.perform(readBots([bot]), writer.server);
    }
    row.release();
    await slowRead;
    await sleep(FILLED_MS);
    await readEverywhere(run, bot);
  },
});

/** A server loads a value, another one changes the bot, and then the first stores the value. */
export const fillAfterWrite = lateFill('a fill after the write', 0);

/** As {@link fillAfterWrite}, but the generation is evicted and created again, twice, before the fill. */
export const fillAfterEviction = lateFill('a fill after the write and evictions', 2);
