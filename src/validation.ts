import { z } from 'zod';

import { badInput } from './errors.js';
import { isUuid } from './uuid.js';

/** Whether a text has more characters than allowed. Counts code points, not UTF-16 units. */
export function hasMoreCharacters(text: string, max: number): boolean {
  // A character takes one or two units, so most texts, and very long ones, need not be counted.
  if (text.length <= max || text.length > 2 * max) return text.length > max;
  let count = 0;
  for (const _ of text) count++;
  return count > max;
}

/** A text that PostgreSQL can store unchanged, with `min` to `max` characters. */
export const text = (min: number, max: number) =>
  z
    .string()
    .refine((value) => !value.includes('\0'), 'must not contain the NUL character')
    .refine((value) => value.isWellFormed(), 'must be well-formed Unicode (it has a lone surrogate)')
    .refine(
      (value) => value.length >= min && !hasMoreCharacters(value, max),
      min === 0 ? `must have at most ${max} characters` : `must have ${min} to ${max} characters`,
    );

/** A whole number from `min` to `max`. */
export const wholeNumber = (min: number, max = Number.MAX_SAFE_INTEGER) =>
  z
    .number()
    .refine(
      (value) => value >= min && value <= max,
      max === Number.MAX_SAFE_INTEGER ? `must be at least ${min}` : `must be from ${min} to ${max}`,
    );

/**
 * Checks an input against a schema.
 * @param at the path of the input among the arguments; empty for an input object, whose fields need no prefix.
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
