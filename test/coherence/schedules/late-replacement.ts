import { STRICT } from '../findings.js';
import { readDetails, readStats } from '../readings.js';
import type { Schedule } from '../schedule.js';
import { addBot, caught, delayLogs, holdRow, readerAndWriter, readEverywhere } from './gates.js';

/** Two servers record messages of a bot; the server that wrote first replaces the cached statistics last. */
export const lateReplacement: Schedule = {
  name: 'statistics replaced in the wrong order',
  tolerance: STRICT,
  async act(run) {
    const { fleet, mutations, workload } = run;
    const { reader, writer } = readerAndWriter(run);
    const bot = await addBot(run);
    // These are hits: a load would tell the first server of the second's write.
    const readReplaced = async () => {
      for (const { server } of fleet.berths) await workload.perform(readStats([bot]), server);
    };
    await readEverywhere(run, bot, 1);
    for (let i = 0; i < 2; i++) await readReplaced();
    await delayLogs(run);
    const figures = holdRow(reader, bot, 'down');
    const first = mutations.record(reader.server, bot, 1);
    await caught(figures);
    await mutations.record(writer.server, bot, 1);
    await readReplaced();
    figures.release();
    await first;
    await readReplaced();
    for (const { server } of fleet.berths) await workload.perform(readDetails([bot]), server);
  },
};
