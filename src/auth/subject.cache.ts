import { createHash } from 'node:crypto';

import type { Resource } from '../cache/resource.js';
import { subjectTag } from '../invalidation/tags.js';
import type { SubjectRepository } from './subject.repository.js';

const TTL_SECONDS = 300;

/** What stands for a subject in keys and tags; the trigger on `users` logs the same. */
const digestOf = (subject: string): string => createHash('sha256').update(subject, 'utf8').digest('hex');

/** `subject:{digest}`: the id of the user whom the identity provider calls so. */
export const subjectResource = (repository: SubjectRepository): Resource<string, string> => ({
  name: 'subject',
  key: (keys) => {
    const key = keys.template('subject:{digest}');
    return (subject) => key({ digest: digestOf(subject) });
  },
  entityId: digestOf,
  dependsOn: [subjectTag],
  shape: 'string',
  ttlSeconds: TTL_SECONDS,
  load: async (subjects) => await repository.findUserIds(subjects),
});
