import { STRICT } from '../findings.js';
import type { Schedule } from '../schedule.js';
import { addBot, caught, delayLogs, holdRow, readerAndWriter, readEverywhere, readThrough } from './gates.js';

/** A bot is read, and cached again if it was removed, just before a write of it commits. */
export const readBeforeCommit: Schedule = {
  name: 'a read just before the commit',
  tolerance: STRICT,
  async act(run) {
    const { mutations } = run;
    const { reader, writer } = readerAndWriter(run);
    const bot = await addBot(run);
    await readEverywhere(run, bot, 2);
    await delayLogs(run);
    const statement = holdRow(writer, bot, 'up');
    const writing = mutations.update(writer.server, bot);
    await caught(statement);
    await readThrough([reader], run, bot, 2);
    statement.release();
    await writing;
    await readEverywhere(run, bot);
  },
};

/** A cached bot is changed through another server. */
export const writeElsewhere: Schedule = {
  name: 'a write through another server',
  tolerance: STRICT,
  async act(run) {
    const { mutations } = run;
    const { writer } = readerAndWriter(run);
    const bot = await addBot(run);
    await readEverywhere(run, bot, 3);
    await delayLogs(run);
    await mutations.update(writer.server, bot);
    await readEverywhere(run, bot);
  },
};
