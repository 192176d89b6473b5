import { STRICT } from '../findings.js';
import { required } from '../fleet.js';
import { readBots, readOrganization } from '../readings.js';
import type { Schedule } from '../schedule.js';
import { addBot, caught, delayLogs, readerAndWriter, readEverywhere } from './gates.js';

/**
 * A write has committed, but its server has not yet told Redis; a mutation through another server finds nothing left to
 * do, and answers with what the first has written.
 */
export const answerWithoutWrite: Schedule = {
  name: 'a mutation that finds its work done',
  tolerance: STRICT,
  async run(stage) {
    const { mutations, workload } = stage;
    const { reader, writer } = readerAndWriter(stage);
    const bot = await addBot(stage);
    await readEverywhere(stage, bot, 2);
    await workload.perform(readOrganization(bot.orgId), reader.server);
    await delayLogs(stage);
    const removal = required(writer.redis).hold((text) => text.includes(bot.id) && !/mget/i.test(text));
    const writing = mutations.setRunning(writer.server, bot, true);
    await caught(removal);
    await mutations.setRunning(reader.server, bot, true);
    await workload.perform(readBots([bot]), reader.server);
    await workload.perform(readOrganization(bot.orgId), reader.server);
    removal.release();
    await writing;
    await readEverywhere(stage, bot);
  },
};
