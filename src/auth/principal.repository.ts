import { sql } from 'drizzle-orm';

import type { Snapshotted } from '../cache/core/resource.js';
import type { SnapshotText } from '../cache/core/snapshot.js';
import { moment } from '../db/cache-moment.js';
import type { Database } from '../db/client.js';
import { memberships, users } from '../db/tables.js';
import { wantedId, wantedIds, wantedPosition } from '../db/wanted-ids.js';
import type { Principal } from './principal.js';

export class PrincipalRepository {
  private readonly byIds;

  constructor(db: Database) {
    this.byIds = db
      .select({
        snapshot: moment,
        principal: sql<Principal | null>`(
          select json_build_object('id', ${users.id}, 'email', ${users.email}, 'name', ${users.name}, 'memberships', (
            select coalesce(json_agg(json_build_object('orgId', ${memberships.orgId}, 'role', ${memberships.role})
              order by ${memberships.orgId}), '[]')
            from ${memberships} where ${memberships.userId} = ${users.id}))
          from ${users} where ${users.id} = ${wantedId})`,
      })
      .from(wantedIds)
      .orderBy(wantedPosition)
      .prepare('principals_by_ids');
  }

  /** Users with their memberships, aligned with the ids. */
  async findMany(ids: readonly string[], since: SnapshotText = ''): Promise<Snapshotted<Principal>[]> {
    const rows = await this.byIds.execute({ ids, since });
    return rows.map(({ snapshot, principal }) => ({ snapshot, value: principal }));
  }
}
