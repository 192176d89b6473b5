import { eq, sql } from 'drizzle-orm';

import type { Snapshotted } from '../cache/core/resource.js';
import type { SnapshotText } from '../cache/core/snapshot.js';
import { moment } from '../db/cache-moment.js';
import type { Database } from '../db/client.js';
import { users } from '../db/tables.js';

export class SubjectRepository {
  private readonly bySubjects;

  constructor(db: Database) {
    this.bySubjects = db
      .select({ snapshot: moment, id: users.id })
      .from(sql`unnest(${sql.placeholder('subjects')}::text[]) with ordinality as wanted(subject, position)`)
      .leftJoin(users, eq(users.subject, sql`wanted.subject`))
      .orderBy(sql`wanted.position`)
      .prepare('users_by_subjects');
  }

  /** The ids of the users with these subjects, aligned with the subjects, in one statement. */
  async findUserIds(subjects: readonly string[], since: SnapshotText): Promise<Snapshotted<string>[]> {
    const rows = await this.bySubjects.execute({ subjects, since });
    return rows.map(({ snapshot, id }) => ({ snapshot, value: id }));
  }
}
