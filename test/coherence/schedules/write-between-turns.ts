import { STRICT } from '../findings.js';
import { readBotAndDetails } from '../readings.js';
import type { Schedule } from '../schedule.js';
import { addBot, caught, delayLogs, holdRow, readEverywhere, readerAndWriter } from './gates.js';

/** An answer shows a cached bot and its details, which are loaded; between the two the bot is changed. */
export const writeBetweenTurns: Schedule = {
  name: 'a write between two reads of one answer',
  tolerance: STRICT,
  async act(run) {
    const { workload, mutations } = run;
    const { reader, writer } = readerAndWriter(run);
    const bot = await addBot(run);
    await readEverywhere(run, bot, 2);
    await delayLogs(run);
    const statement = holdRow(reader, bot, 'up');
    const reading = workload.perform(readBotAndDetails(bot), reader.server);
    await caught(statement);
    await mutations.update(writer.server, bot);
    statement.release();
    await reading;
    await readEverywhere(run, bot);
  },
};
