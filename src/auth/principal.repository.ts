import { sql } from 'drizzle-orm';

import type { Snapshotted } from '../cache/resource.js';
import { currentSnapshot } from '../db/cache-epoch.js';
import type { Database } from '../db/client.js';
import { memberships, users } from '../db/tables.js';
import type { Principal } from './principal.js';

export class PrincipalRepository {
  private readonly byIds;

  constructor(db: Database) {
    this.byIds = db
      .select({
        snapshot: currentSnapshot,
        principal: sql<Principal | null>`(
          select json_build_object('id', ${users.id}, 'email', ${users.email}, 'name', ${users.name}, 'memberships', (
            select coalesce(json_agg(json_build_object('orgId', ${memberships.orgId}, 'role', ${memberships.role})
              order by ${memberships.orgId}), '[]')
            from ${memberships} where ${memberships.userId} = ${users.id}))
          from ${users} where ${users.id} = wanted.id)`,
      })
      .from(sql`unnest(${sql.placeholder('ids')}::uuid[]) with ordinality as wanted(id, position)`)
      .orderBy(sql`wanted.position`)
      .prepare('principals_by_ids');
  }

  /** Users with their memberships, aligned with the ids. */
  async findMany(ids: readonly string[]): Promise<Snapshotted<Principal>[]> {
    const rows = await this.byIds.execute({ ids });
    return rows.map(({ snapshot, principal }) => ({ snapshot, value: principal }));
  }
}
