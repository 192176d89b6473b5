import { Role, rolesThatAllow } from '../../src/auth/role.enum.js';
import { BotRepository } from '../../src/bots/bot.repository.js';
import { connectDatabase } from '../../src/db/client.js';
import { markWrite } from '../../src/mutations/idempotency-key.js';
import { connected, connectOpponentRedis } from '../servers/redis.js';
import { median } from '../support/numbers.js';
import type { Bench } from './bench.js';

/** The median time of a bare update and one Redis round trip in one process, without HTTP or GraphQL (ms). */
export async function measureBareUpdate(bench: Bench, iterations: number): Promise<number> {
  const { db, close } = connectDatabase({ url: bench.databaseUrl, poolMax: 1 });
  const redis = connectOpponentRedis(`${bench.redis.url}/31`);
  await connected(redis);
  const bots = new BotRepository(db);
  const { orgId, ownerId: userId, botIds } = bench.data;
  const roles = rolesThatAllow(Role.EDITOR);
  const mark = markWrite({ requestId: 'bare', idempotencyKey: undefined }, 'updateBot');
  const times: number[] = [];
  for (let i = 0; i < iterations; i++) {
    const id = botIds[i % 100] as string;
    const startedAt = performance.now();
    await bots.update({ id, userId, roles }, { name: `Bare ${i} ${startedAt}` }, '', mark);
    await redis.unlink(`bot:${id}`, `org:${orgId}`);
    times.push(performance.now() - startedAt);
  }
  redis.disconnect();
  await close();
  return median(times.slice(Math.floor(iterations / 5)));
}
