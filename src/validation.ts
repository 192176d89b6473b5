import { z } from 'zod';

import { badInput } from './errors.js';
import { isUuid } from './uuid.js';

/** Whether a text has more characters than allowed, as people count them: code points, not UTF-16 units. */
export function hasMoreCharacters(text: string, max: number): boolean {
  // A character takes one or two units, so most texts need not be counted, and a very long one is not.
  if (text.length <= max || text.length > 2 * max) return text.length > max;
  let count = 0;
  for (const _ of text) count++;
  return count > max;
}

/** Text that PostgreSQL can keep as it is, of so many characters. */
export const text = (least: number, most: number) =>
  z
    .string()
    .refine((value) => !value.includes('\0'), 'must not contain the NUL character')
    .refine((value) => value.isWellFormed(), 'must be well-formed Unicode (it has a lone surrogate)')
    .refine(
      (value) => value.length >= least && !hasMoreCharacters(value, most),
      least === 0 ? `must have at most ${most} characters` : `must have ${least} to ${most} characters`,
    );

/** A whole number in a range. */
export const wholeNumber = (least: number, most = Number.MAX_SAFE_INTEGER) =>
  z
    .number()
    .refine(
      (value) => value >= least && value <= most,
      most === Number.MAX_SAFE_INTEGER ? `must be at least ${least}` : `must be from ${least} to ${most}`,
    );

/**
 * Checks an input against a schema.
 * @param at the path of the input among the arguments; empty for an input object whose fields speak for themselves.
 * @throws ApiError BAD_USER_INPUT naming the first field that breaks a rule, and the rule.
 */
export function parseInput<Output>(schema: z.ZodType<Output>, value: unknown, at = ''): Output {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = [...(at ? [at] : []), ...(issue?.path ?? []).map(String)].join('.');
  throw badInput(path || 'input', issue?.message ?? 'is not valid');
}

/** A uuid in its canonical, lower-case form. @throws ApiError BAD_USER_INPUT naming the field. */
export function parseId(field: string, value: string): string {
  if (!isUuid(value)) throw badInput(field, 'must be a uuid');
  return value.toLowerCase();
}
