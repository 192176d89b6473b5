import DataLoader from 'dataloader';

import type { ReadTrace } from '../cache/read-trace.js';
import type { CachedResource } from '../cache/resource.js';
import type { MessagePageContent } from './message-connection.type.js';
import type { MessagePageQuery } from './message-page.repository.js';
import { messagePageKey } from './message-page.resource.js';

export interface MessageResources {
  readonly messagePage: CachedResource<MessagePageQuery, MessagePageContent>;
}

/** The loaders of one request for messages. */
export const createMessageLoaders = (resources: MessageResources, trace: ReadTrace | undefined) => ({
  messagePage: new DataLoader<MessagePageQuery, MessagePageContent | null, string>(
    async (queries) => await resources.messagePage.readMany(queries, trace),
    { cacheKeyFn: messagePageKey },
  ),
});
