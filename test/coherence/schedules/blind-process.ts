import { WITHIN_TWO_SECONDS } from '../findings.js';
import { required } from '../fleet.js';
import type { Schedule } from '../schedule.js';
import { addBot, readerAndWriter, readEverywhere, readThrough } from './gates.js';

/** Longer than a process may use cached values without reading the log, and longer than the sweep waits (ms). */
const BLIND_MS = 2_300;
const READS = 3;

/**
 * A server cannot reach PostgreSQL while a bot is changed by SQL, and Redis restarts from an older dump. Only the age of its
 * last read of the log keeps the server from using that dump.
 */
export const blindProcess: Schedule = {
  name: 'a server that cannot read the log',
  tolerance: WITHIN_TWO_SECONDS,
  async act(run, span) {
    const { redis, sql } = run;
    const { reader } = readerAndWriter(run);
    const bot = await addBot(run);
    await readEverywhere(run, bot, 2);
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
    await readThrough([reader], run, bot, READS);
    await proxy.resume();
    endExcuse();
  },
};
