import { STRICT } from '../findings.js';
import { OutsideWriter } from '../outside-writer.js';
import { readBots, readDetails } from '../readings.js';
import type { Schedule } from '../schedule.js';
import { addPair, delayLogs, readEverywhere, readerAndWriter } from './gates.js';

/**
 * SQL changes two cached bots, and one server shows a new value that it had not cached. Then the other server must not show
 * the old values of either bot, although nobody has invalidated them. Its first load would tell it of the write, so each bot
 * is once the first to be read.
 */
export const writeShownElsewhere: Schedule = {
  name: 'a write by SQL that another server has shown',
  tolerance: STRICT,
  async act(run) {
    const { workload } = run;
    const { reader, writer: other } = readerAndWriter(run);
    for (const firstRead of [0, 1] as const) {
      const pair = await addPair(run);
      for (const bot of pair.bots) await readEverywhere(run, bot, 2);
      await delayLogs(run);
      await new OutsideWriter(run).writePair(pair);
      await workload.perform(readDetails([pair.bots[0]]), reader.server);
      await workload.perform(readBots([pair.bots[firstRead]]), other.server);
      await workload.perform(readBots([pair.bots[1 - firstRead] ?? pair.bots[0]]), other.server);
    }
  },
};
