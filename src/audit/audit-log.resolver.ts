import { Args, Ctx, FieldResolver, Resolver, Root } from 'type-graphql';

import { Role } from '../auth/role.enum.js';
import { within } from '../cache/core/work.js';
import type { CachedResource } from '../cache/core/resource.js';
import type { RequestContext } from '../context.js';
import { Organization } from '../organizations/organization.type.js';
import { parseInput } from '../validation.js';
import { AuditLogArgs, auditLogRules } from './audit-log.input.js';
import type { AuditPage, AuditPageQuery } from './audit-log.repository.js';
import { AuditConnection } from './audit-log.type.js';

/** The audit log of an organization. Only owners may read it. */
@Resolver(() => Organization)
export class AuditLogResolver {
  constructor(private readonly pages: Pick<CachedResource<AuditPageQuery, AuditPage>, 'readMany'>) {}

  @FieldResolver(() => AuditConnection, {
    description: 'What mutations have changed, newest first; for owners only. `first` is 1 to 100.',
  })
  async auditLog(
    @Ctx() context: RequestContext,
    @Root() { id: orgId }: Readonly<Organization>,
    @Args(() => AuditLogArgs) args: AuditLogArgs,
  ): Promise<AuditConnection> {
    await context.authorization.require(Role.OWNER, orgId, 'Organization');
    const { first, after } = parseInput(auditLogRules, args);
    const [page] = await within(context.work, () =>
      this.pages.readMany([{ orgId, first, after }], context.dependencies),
    );
    const { entries = [], hasPrevious = false } = page ?? {};
    return AuditConnection.of(entries.slice(0, first), {
      hasNextPage: entries.length > first,
      hasPreviousPage: hasPrevious,
    });
  }
}
