import { badInput } from '../errors.js';

/** Far above any input of the schema. Without limits, GraphQL's own errors repeat and compare the refused values. */
const MAX_KEYS = 1_000;
const MAX_KEY_CHARACTERS = 200;
const MAX_TEXT_CHARACTERS = 2_000_000;

/**
 * Checks the sizes in the variables of a request, before GraphQL coerces them.
 * @throws ApiError BAD_USER_INPUT naming the value and the rule
 */
export function checkVariableLimits(variables: unknown): void {
  // An iteration without a path for each value: most variables are within the limits.
  const values: unknown[] = [variables];
  while (values.length > 0) {
    const value = values.pop();
    if (typeof value === 'string') {
      if (value.length > MAX_TEXT_CHARACTERS) {
        throw badInput('variables', `must not have a text of more than ${MAX_TEXT_CHARACTERS} characters`);
      }
    } else if (Array.isArray(value)) {
      for (const item of value) if (typeof item === 'object' || typeof item === 'string') values.push(item);
    } else if (typeof value === 'object' && value !== null) {
      const keys = Object.keys(value);
      if (keys.length > MAX_KEYS) {
        throw badInput('variables', `must not have an object of more than ${MAX_KEYS} fields`);
      }
      for (const key of keys) {
        if (key.length > MAX_KEY_CHARACTERS) {
          throw badInput(
            'variables',
            `must not have a field with a name of more than ${MAX_KEY_CHARACTERS} characters`,
          );
        }
        values.push((value as Record<string, unknown>)[key]);
      }
    }
  }
}
