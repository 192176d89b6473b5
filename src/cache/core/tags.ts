/**
 * A tag names what a cached value depends on: one facet of one entity, such as `bot:7f3c…` (the bot's row) or
 * `bot:7f3c…:stats` (its totals). The triggers in `drizzle/` log the same strings.
 */
export type Tag = string;

/**
 * Logged instead of single tags when a write touches very many rows (TRUNCATE, a bulk UPDATE): it outdates every
 * value.
 */
export const EVERYTHING: Tag = '*';

/** All tags of one kind. `of` returns the tag of an entity's id. */
export interface TagFamily {
  readonly entity: string;
  readonly facet: string | undefined;
  readonly of: (id: string) => Tag;
}

/**
 * `tagFamily('bot').of(id)` is `bot:<id>`; `tagFamily('bot', 'stats').of(id)` is `bot:<id>:stats`. No part may be
 * empty or contain a colon: the tag would belong to another family, and invalidating it would leave the values.
 * @throws TypeError
 */
export function tagFamily(entity: string, facet?: string): TagFamily {
  const prefix = `${refuseColons('entity', entity)}:`;
  const suffix = facet === undefined ? '' : `:${refuseColons('facet', facet)}`;
  return { entity, facet, of: (id) => prefix + refuseColons('id', id) + suffix };
}

function refuseColons(name: string, part: string): string {
  if (part === '' || part.includes(':'))
    throw new TypeError(`The ${name} of a tag must not be empty or have a colon`);
  return part;
}

/** The parts of a tag; undefined for a tag that no family makes (a newer release's tag, or `*`). */
export function parseTag(tag: Tag): { entity: string; id: string; facet: string | undefined } | undefined {
  const [entity, id, facet, ...rest] = tag.split(':');
  if (!entity || !id || rest.length > 0) return undefined;
  return { entity, id, facet };
}
