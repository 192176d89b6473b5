import { createHash } from 'node:crypto';

import { cached } from '../cache/core/resource.js';
import type { Ttls } from '../config.js';
import { subjectTag } from '../invalidation/tags.js';
import type { SubjectRepository } from './subject.repository.js';

/** The digest that keys and tags have instead of a subject; the trigger on `users` logs the same. */
const digestOf = (subject: string): string => createHash('sha256').update(subject, 'utf8').digest('hex');

/** The id of the user whom the identity provider calls by a subject. */
export const subjectResources = (subjects: SubjectRepository, ttl: Ttls) => ({
  subject: cached<string>({
    key: 'subject:{digest}',
    params: (subject) => ({ digest: digestOf(subject) }),
    tags: [subjectTag],
    shape: 'string',
    ttlSeconds: ttl.subject,
    load: async (wanted) => await subjects.findUserIds(wanted),
  }),
});
