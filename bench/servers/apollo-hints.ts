import type { Config } from '../../src/config.js';

const DIRECTIVE = `
enum CacheControlScope { PUBLIC PRIVATE }
directive @cacheControl(maxAge: Int, scope: CacheControlScope, inheritMaxAge: Boolean) on FIELD_DEFINITION | OBJECT
`;

/** The schema with our TTLs as cache hints; private, so that a response is cached for one session only. */
export function withCacheHints(sdl: string, ttl: Config['cache']['ttlSeconds']): string {
  const hint = (seconds: number) => `@cacheControl(maxAge: ${seconds}, scope: PRIVATE)`;
  const types = { BotPage: ttl.botPage, Bot: ttl.bot, BotStats: ttl.botStats, BotDetails: ttl.botDetails };
  let hinted = sdl;
  for (const [type, seconds] of Object.entries(types)) {
    hinted = hinted.replace(new RegExp(`^type ${type} \\{`, 'm'), `type ${type} ${hint(seconds)} {`);
  }
  // Details are cached as a whole, for longer than statistics alone.
  hinted = hinted.replace(
    /^(type BotDetails [^}]*?\bstats: BotStats!)/m,
    (head) => `${head} ${hint(ttl.botDetails)}`,
  );
  return hinted + DIRECTIVE;
}
