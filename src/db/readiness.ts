import { openDriver, type Sql } from './driver.js';
import { findEndpointKind } from './pooler-detection.js';
import { isMigrated } from './migrate.js';

/** How the database looks to somebody who asks whether this server can work. */
export interface DatabaseState {
  readonly reachable: boolean;
  readonly migrated: boolean;
}

/** How long each of two looks may take (ms): a connection that gives no answer is replaced for the second. */
const LOOK_TIMEOUT_MS = 400;

/** Looks after the database over a connection of its own, and answers within a second whatever the database does. */
export class DatabaseProbe {
  private sql: Sql | undefined;
  private looking: Promise<DatabaseState> | undefined;
  /** What was found last; it stands while the list of migrations is locked. */
  private wasMigrated = false;

  constructor(private readonly url: string) {}

  async state(): Promise<DatabaseState> {
    this.looking ??= this.look()
      .then(async (first) => (first.reachable ? first : await this.look()))
      .finally(() => {
        this.looking = undefined;
      });
    return await this.looking;
  }

  async close(): Promise<void> {
    await this.sql?.end({ timeout: 1 });
  }

  private async look(): Promise<DatabaseState> {
    let isReachable = false;
    const ask = async (): Promise<void> => {
      await findEndpointKind(this.url);
      this.sql ??= openDriver(this.url, { max: 1, connect_timeout: 1, max_lifetime: null, connection: NAME });
      const { sql } = this;
      await sql.unsafe('select 1');
      isReachable = true;
      this.wasMigrated = await isMigrated(sql);
    };
    let timer: NodeJS.Timeout | undefined;
    try {
      await Promise.race([
        ask(),
        new Promise<never>((_, reject) => {
          timer = setTimeout(() => reject(new Error('no answer')), LOOK_TIMEOUT_MS);
        }),
      ]);
    } catch {
      // Whatever keeps it from answering: the connection may be at fault, and another look tells.
      const { sql } = this;
      this.sql = undefined;
      sql?.end({ timeout: 0 }).catch(() => undefined);
    } finally {
      clearTimeout(timer);
    }
    return { reachable: isReachable, migrated: isReachable && this.wasMigrated };
  }
}

const NAME = { application_name: 'flovo-bots readiness' };
