import { WITHIN_TWO_SECONDS } from '../findings.js';
import { required } from '../fleet.js';
import type { Schedule } from '../schedule.js';
import { addBot, readerAndWriter, readEverywhere, readThrough } from './gates.js';

/** Longer than a process may go without the log, and than the sweep waits (ms). */
const BLIND_MS = 2_300;
const READS = 3;

/**
 * A server cannot reach PostgreSQL while a bot is changed from outside, and Redis comes back with what it held before:
 * now nothing but its own caution keeps the server from using that.
 */
export const blindProcess: Schedule = {
  name: 'a server that cannot read the log',
  tolerance: WITHIN_TWO_SECONDS,
  async run(stage, span) {
    const { redis, sql } = stage;
    const { reader } = readerAndWriter(stage);
    const bot = await addBot(stage);
    await readEverywhere(stage, bot, 2);
    const dump = await redis.dump();
    const endExcuse = reader.server.excuse();
    const proxy = required(reader.postgres);
    proxy.stall();
    bot.version.mayGrowBy(1);
    await sql`update bots set description = 'from outside' where id = ${bot.id}`;
    bot.version.isCommitted(2, performance.now());
    await span.pause(BLIND_MS);
    await redis.kill();
    await redis.restart(dump);
    await span.pause(BLIND_MS / 2);
    await readThrough([reader], stage, bot, READS);
    await proxy.resume();
    endExcuse();
  },
};
