import type { OrganizationResources } from '../organizations/organization.cache.js';
import type { RequestContext } from '../context.js';

/** The context of these resolvers, with the loaders that they use. */
export type UserContext = RequestContext<OrganizationResources>;
