import { AuditLogResolver } from './audit/audit-log.resolver.js';
import type { AuditPage, AuditPageQuery } from './audit/audit-log.repository.js';
import { BotResolver } from './bots/bot.resolver.js';
import { BotService } from './bots/bot.service.js';
import { RefusedWrites } from './bots/refused-writes.js';
import type { CachedResource } from './cache/core/resource.js';
import type { Helping } from './cache/invalidation/helping.js';
import type { Invalidator } from './cache/invalidation/invalidator.js';
import { InvalidationService } from './invalidation/invalidation.service.js';
import { MessageResolver } from './messages/message.resolver.js';
import { MessageService } from './messages/message.service.js';
import { Writes } from './mutations/writes.js';
import type { Repositories, Resources } from './resources.js';

/** The resolvers that have dependencies: those that write. */
export function createResolvers(parts: {
  readonly repositories: Repositories;
  readonly resources: Resources;
  readonly invalidator: Invalidator;
  readonly helping: Helping;
  readonly auditPages: CachedResource<AuditPageQuery, AuditPage>;
}): object[] {
  const { bots, messages, principals, stats } = parts.repositories;
  const invalidation = new InvalidationService(parts.invalidator, parts.resources.botStats, parts.helping);
  const refused = new RefusedWrites(bots, principals, invalidation);
  const writes = new Writes(principals, invalidation);
  return [
    new BotResolver(new BotService(bots, refused, writes, invalidation)),
    new MessageResolver(new MessageService(messages, stats, refused, writes, invalidation)),
    new AuditLogResolver(parts.auditPages),
  ];
}
