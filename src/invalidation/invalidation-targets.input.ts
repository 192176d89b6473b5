import { z } from 'zod';

import { isUuid, UUID_PATTERN } from '../uuid.js';

/** The maximum number of entries in each list. */
const MAX_TARGETS = 1_000;

/** The tags of `tags.ts`, as operators may write them. */
const TAG = new RegExp(
  `^((bot|org):${UUID_PATTERN}(:stats)?|user:${UUID_PATTERN}|subject:[0-9a-f]{64})$`,
  'i',
);

const listOf = (isValid: (text: string) => boolean, rule: string) =>
  z
    .array(z.string(rule).refine(isValid, rule).toLowerCase(), 'must be a list')
    .min(1, 'must not be empty')
    .max(MAX_TARGETS, `must have at most ${MAX_TARGETS} entries`)
    .optional();

const ids = () => listOf(isUuid, 'must be a uuid');

/** The rules of {@link InvalidationTargets}, which an operator gives as JSON. */
export const invalidationTargetsRules = z
  .strictObject(
    {
      tags: listOf(
        (tag) => TAG.test(tag),
        'must be bot:<id>, bot:<id>:stats, org:<id>, org:<id>:stats, user:<id> or subject:<sha256>',
      ),
      bots: ids(),
      organizations: ids(),
      everything: z.literal(true, 'must be true').optional(),
    },
    {
      error: (issue) =>
        issue.code === 'unrecognized_keys'
          ? `must have no field ${String(issue.keys?.[0]).slice(0, 100)}`
          : 'must be an object',
    },
  )
  .refine(
    (targets) => Object.values(targets).some((value) => value !== undefined),
    'must have at least one of tags, bots, organizations and everything',
  );

/** What an operator invalidates: tags, entities with all that shows them, or everything that is cached. */
export type InvalidationTargets = z.infer<typeof invalidationTargetsRules>;
