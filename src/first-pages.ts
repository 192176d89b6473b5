import type { Wanted } from './cache/warming/warming.js';
import type { Repositories, Resources } from './resources.js';

/** How many organizations count as active. */
const MAX_ORGANIZATIONS = 20;
/** A page as clients ask for it that give no limit. */
const FIRST_PAGE = { page: 1, limit: 20, search: '' } as const;

/**
 * What a server is probably asked for first: the organizations that were active last, their first pages, and the
 * statistics that those show. The pages are read, and so stored, on the way.
 */
export async function firstPages(
  { organizations }: Pick<Repositories, 'organizations'>,
  { botPage }: Pick<Resources, 'botPage'>,
): Promise<Wanted[]> {
  const orgIds = await organizations.findMostActive(MAX_ORGANIZATIONS);
  const pages = orgIds.map((orgId) => ({ orgId, ...FIRST_PAGE }));
  const contents = pages.length === 0 ? [] : await botPage.readMany(pages);
  const botIds = contents.flatMap((content) => content?.items.map(({ id }) => id) ?? []);
  return [
    { resource: 'botPage', ids: pages },
    { resource: 'organization', ids: orgIds },
    { resource: 'organizationStats', ids: orgIds },
    { resource: 'botStats', ids: botIds },
  ];
}
