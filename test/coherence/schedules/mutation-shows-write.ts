import { STRICT } from '../findings.js';
import { OutsideWriter } from '../outside-writer.js';
import { readBots } from '../readings.js';
import type { Schedule } from '../schedule.js';
import { addPair, delayLogs, readEverywhere, readerAndWriter } from './gates.js';

/**
 * SQL changes two cached bots, and a mutation of one of them answers with what SQL wrote. Then no server may show the old
 * value of the other bot, although nobody has invalidated it.
 */
export const mutationShowsWrite: Schedule = {
  name: 'a write by SQL that a mutation has shown',
  tolerance: STRICT,
  async act(run) {
    const { workload, mutations } = run;
    const { reader, writer } = readerAndWriter(run);
    const pair = await addPair(run);
    for (const bot of pair.bots) await readEverywhere(run, bot, 2);
    await delayLogs(run);
    await new OutsideWriter(run).writePair(pair);
    await mutations.setRunning(writer.server, pair.bots[0], true);
    await workload.perform(readBots([pair.bots[1]]), reader.server);
  },
};
