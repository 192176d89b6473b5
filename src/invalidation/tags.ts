import { tagFamily, type Tag } from '../cache/core/tags.js';

/** A bot's row. */
export const botTag = tagFamily('bot');
/** A bot's running totals. */
export const botStatsTag = tagFamily('bot', 'stats');
/** An organization's row, and everything that lists its bots. */
export const orgTag = tagFamily('org');
/** The totals of an organization's messages. */
export const orgStatsTag = tagFamily('org', 'stats');
/** A user's row and memberships. */
export const userTag = tagFamily('user');
/** A subject at the identity provider and its user; the id is the subject's digest. */
export const subjectTag = tagFamily('subject');

/** Everything that only a bot decides. Its organization's lists and totals show it as well. */
export const tagsOfBot = (id: string): Tag[] => [botTag.of(id), botStatsTag.of(id)];
/** Everything that an organization as a whole decides. */
export const tagsOfOrganization = (id: string): Tag[] => [orgTag.of(id), orgStatsTag.of(id)];
