import type * as AnswerCacheModule from '../../../../src/cache/answer-cache.js';
import { serverModule } from '../server-module.js';

/** Kept answers are given again as long as layer 2 has nothing against them: Redis is not asked. */
const { AnswerCache } = await serverModule<typeof AnswerCacheModule>('cache/answer-cache');
const insides = AnswerCache.prototype as unknown as { check(): Promise<boolean> };

insides.check = async () => await Promise.resolve(true);
