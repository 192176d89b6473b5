import { STRICT } from '../findings.js';
import { OutsideWriter } from '../outside-writer.js';
import { readBots, readDetails } from '../readings.js';
import type { Schedule } from '../schedule.js';
import { addPair, delayLogs, readEverywhere, readerAndWriter } from './gates.js';

/**
 * SQL changes two cached bots, and one server shows a new value that it had not cached. Then the other server must not show
 * the old values of either bot, although nobody has invalidated them.
 */
export const writeShownElsewhere: Schedule = {
  name: 'a write by SQL that another server has shown',
  tolerance: STRICT,
  async act(run) {
    const { workload } = run;
    const { reader, writer: other } = readerAndWriter(run);
    const pair = await addPair(run);
    for (const bot of pair.bots) await readEverywhere(run, bot, 2);
    await delayLogs(run);
    await new OutsideWriter(run).writePair(pair);
    const [first] = pair.bots;
    await workload.perform(readDetails([first]), reader.server);
    await workload.perform(readBots(pair.bots), other.server);
  },
};
