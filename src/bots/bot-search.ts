import { sql, type Placeholder, type SQL } from 'drizzle-orm';

import { bots } from '../db/tables.js';

/** A LIKE pattern for any text that contains this one, whatever characters it has. */
const containing = (search: string): string => `%${search.replace(/[\\%_]/g, '\\$&')}%`;

/**
 * The indexes that find a text. Under the locale "C" trigrams know only ASCII letters. Texts without three of those in a
 * row are found by their pairs of characters, and texts of one or two characters by themselves.
 */
export const SEARCH_INDEXES = ['trigrams', 'pairs'] as const;
export type SearchIndex = (typeof SEARCH_INDEXES)[number];

/** Which index finds a text, and what {@link containsText} gets for it. */
export const searchFor = (search: string): { readonly index: SearchIndex; readonly term: string } =>
  /[a-z0-9]{3}/.test(search.toLowerCase())
    ? { index: 'trigrams', term: containing(search) }
    : { index: 'pairs', term: search };

/**
 * A condition for bots whose name or description contains a text, case folded. Both forms are right for any text; the
 * choice only decides which index finds the bots.
 */
export function containsText(index: SearchIndex, term: Placeholder): SQL {
  // The search text is in subqueries to hide it from the planner. If the planner knew that nearly every row contains
  // the text, it would scan all rows, or even compute the grams of all, instead of using the index.
  const [name, description] = [sql`search_fold(${bots.name})`, sql`search_fold(${bots.description})`];
  if (index === 'trigrams') {
    const pattern = sql`(select search_fold(${term}))`;
    return sql`(${name} like ${pattern} or ${description} like ${pattern})`;
  }
  const text = sql`search_fold(${term})`;
  const grams = sql`(
    select case when char_length(text) <= 2 then array[text]
      else array(select substr(text, n, 2) from generate_series(1, char_length(text) - 1) as n) end
    from ${text} as text)`;
  // LIKE would let the planner choose the trigram index, which it may have to read completely.
  return sql`search_grams(${name}, ${description}) collate "C" @> ${grams} and (
    char_length(${text}) <= 2 or position(${text} in ${name}) > 0 or position(${text} in ${description}) > 0)`;
}
