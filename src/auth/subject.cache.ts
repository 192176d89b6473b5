import { createHash } from 'node:crypto';

import { cached } from '../cache/core/resource.js';
import type { Ttls } from '../config.js';
import { subjectTag } from '../invalidation/tags.js';
import type { SubjectRepository } from './subject.repository.js';

/** The digest of a subject, used in keys and tags; the trigger on `users` logs the same digest. */
const digestOf = (subject: string): string => createHash('sha256').update(subject, 'utf8').digest('hex');

/** The id of the user with a given subject at the identity provider. */
export const subjectResources = (subjects: SubjectRepository, ttl: Ttls) => ({
  subject: cached<string>({
    key: 'subject:{digest}',
    params: (subject) => ({ digest: digestOf(subject) }),
    tags: [subjectTag],
    shape: 'string',
    ttlSeconds: ttl.subject,
    load: async (wanted, since) => await subjects.findUserIds(wanted, since),
  }),
});
