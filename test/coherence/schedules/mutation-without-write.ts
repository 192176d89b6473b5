import { STRICT } from '../findings.js';
import { required } from '../fleet.js';
import { readBots, readOrganization } from '../readings.js';
import type { Schedule } from '../schedule.js';
import { addBot, caught, delayLogs, readerAndWriter, readEverywhere } from './gates.js';

/**
 * A write has committed, but its server has not yet invalidated in Redis. The same mutation through another server has
 * nothing to write, and answers with the state that the first one wrote.
 */
export const mutationWithoutWrite: Schedule = {
  name: 'a mutation that has nothing to write',
  tolerance: STRICT,
  async act(run) {
    const { mutations, workload } = run;
    const { reader, writer } = readerAndWriter(run);
    const bot = await addBot(run);
    await readEverywhere(run, bot, 2);
    await workload.perform(readOrganization(bot.orgId), reader.server);
    await delayLogs(run);
    const removal = required(writer.redis).hold((text) => text.includes(bot.id) && /unlink/i.test(text));
    const writing = mutations.setRunning(writer.server, bot, true);
    await caught(removal);
    await mutations.setRunning(reader.server, bot, true);
    await workload.perform(readBots([bot]), reader.server);
    await workload.perform(readOrganization(bot.orgId), reader.server);
    removal.release();
    await writing;
    await readEverywhere(run, bot);
  },
};
