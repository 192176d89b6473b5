import { ArgsType, Field, Int } from 'type-graphql';
import { z } from 'zod';

import { wholeNumber } from '../validation.js';
import { decodeCursor, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from './audit-log.type.js';

@ArgsType()
export class AuditLogArgs {
  @Field(() => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE })
  readonly first?: number | null;

  @Field(() => String, { nullable: true })
  readonly after?: string | null;
}

const cursor = z.string().transform((value, context) => {
  const id = decodeCursor(value);
  if (id !== undefined) return id;
  context.addIssue({ code: 'custom', message: 'must be a cursor of this list' });
  return z.NEVER;
});

export const auditLogRules = z.object({
  first: wholeNumber(1, MAX_PAGE_SIZE)
    .nullish()
    .transform((first) => first ?? DEFAULT_PAGE_SIZE),
  after: cursor.nullish().transform((id) => id ?? null),
});
