import DataLoader from 'dataloader';

import type { ResponseDependencies } from '../cache/response/response-dependencies.js';
import type { CachedResource } from '../cache/resource.js';
import type { Organization } from './organization.type.js';

export interface OrganizationResources {
  readonly organization: CachedResource<string, Organization>;
}

/** The loaders of one request for organizations. */
export const createOrganizationLoaders = (
  resources: OrganizationResources,
  dependencies: ResponseDependencies | undefined,
) => ({
  organization: new DataLoader<string, Organization | null>(
    async (ids) => await resources.organization.readMany(ids, dependencies),
  ),
});
