import { GraphQLError, GraphQLScalarType } from 'graphql';

/** An instant as ISO 8601 in UTC with milliseconds. Both the cache and rows already contain this text. */
export const DateTime = new GraphQLScalarType<string, string>({
  name: 'DateTime',
  description: 'An instant in ISO 8601, in UTC with milliseconds: 2026-01-31T09:30:00.000Z',
  serialize(value) {
    if (typeof value === 'string') return value;
    if (value instanceof Date) return value.toISOString();
    throw new GraphQLError('DateTime cannot represent a value that is not an instant');
  },
});
