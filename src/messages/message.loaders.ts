import DataLoader from 'dataloader';

import type { ResponseDependencies } from '../cache/response/response-dependencies.js';
import type { CachedResource } from '../cache/resource.js';
import type { MessagePageContent } from './message-connection.type.js';
import type { MessagePageQuery } from './message-page.repository.js';
import { messagePageKey } from './message-page.cache.js';

export interface MessageResources {
  readonly messagePage: CachedResource<MessagePageQuery, MessagePageContent>;
}

/** The loaders of one request for messages. */
export const createMessageLoaders = (
  resources: MessageResources,
  dependencies: ResponseDependencies | undefined,
) => ({
  messagePage: new DataLoader<MessagePageQuery, MessagePageContent | null, string>(
    async (queries) => await resources.messagePage.readMany(queries, dependencies),
    { cacheKeyFn: messagePageKey },
  ),
});
