import { STRICT } from '../findings.js';
import type { Schedule } from '../schedule.js';
import { addBot, caught, delayLogs, holdRow, readerAndWriter, readEverywhere, readThrough } from './gates.js';

/** A transaction is about to commit while its bot is read, and cached anew if it is not. */
export const readBeforeCommit: Schedule = {
  name: 'a read just before the commit',
  tolerance: STRICT,
  async run(stage) {
    const { mutations } = stage;
    const { reader, writer } = readerAndWriter(stage);
    const bot = await addBot(stage);
    await readEverywhere(stage, bot, 2);
    await delayLogs(stage);
    const statement = holdRow(writer, bot, 'up');
    const writing = mutations.update(writer.server, bot);
    await caught(statement);
    await readThrough([reader], stage, bot, 2);
    statement.release();
    await writing;
    await readEverywhere(stage, bot);
  },
};

/** A cached bot is changed through another server. */
export const writeElsewhere: Schedule = {
  name: 'a write through another server',
  tolerance: STRICT,
  async run(stage) {
    const { mutations } = stage;
    const { writer } = readerAndWriter(stage);
    const bot = await addBot(stage);
    await readEverywhere(stage, bot, 3);
    await delayLogs(stage);
    await mutations.update(writer.server, bot);
    await readEverywhere(stage, bot);
  },
};
