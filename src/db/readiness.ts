import { openDriver, type Sql } from './driver.js';
import { findEndpointKind } from './pooler-detection.js';
import { isMigrated } from './migrate.js';

/** How the database looks to somebody who asks whether this server can work. */
export interface DatabaseState {
  readonly reachable: boolean;
  readonly migrated: boolean;
}

/** When a second connection is tried (ms): one that gives no answer may lead nowhere. */
const SECOND_LOOK_AFTER_MS = 250;
/** When the answer is given, whatever is known by then (ms). */
const ANSWER_AFTER_MS = 750;

const CONNECTION = {
  max: 1,
  connect_timeout: 1,
  max_lifetime: null,
  connection: { application_name: 'flovo-bots readiness' },
  // Nobody waits for the answer by then, so PostgreSQL need not go on.
  sessionSettings: { lock_timeout: '500', statement_timeout: '700' },
};

/** Looks after the database over a connection of its own, and answers within a second whatever the database does. */
export class DatabaseProbe {
  private kept: Sql | undefined;
  private looking: Promise<DatabaseState> | undefined;
  /** What was found last; it stands while the list of migrations is locked. */
  private wasMigrated = false;

  constructor(private readonly url: string) {}

  async state(): Promise<DatabaseState> {
    this.looking ??= this.look().finally(() => {
      this.looking = undefined;
    });
    return await this.looking;
  }

  async close(): Promise<void> {
    await this.kept?.end({ timeout: 1 });
  }

  private async look(): Promise<DatabaseState> {
    const connections: Sql[] = this.kept ? [this.kept] : [];
    const timers: NodeJS.Timeout[] = [];
    const wait = async (ms: number): Promise<void> =>
      await new Promise((resolve) => timers.push(setTimeout(resolve, ms)));
    let answered: Sql | undefined;
    let isOver = false;
    const ask = async (given: Sql | undefined): Promise<void> => {
      await findEndpointKind(this.url);
      if (isOver) return;
      const sql = given ?? openDriver(this.url, CONNECTION);
      if (!given) connections.push(sql);
      await sql.unsafe('select 1');
      answered ??= sql;
      this.wasMigrated = await isMigrated(sql);
    };
    const second = wait(SECOND_LOOK_AFTER_MS).then(async () => await ask(undefined));
    // What keeps the database from answering is its own affair: it is away, and that is what is told.
    await Promise.race([Promise.any([ask(this.kept), second]), wait(ANSWER_AFTER_MS)]).catch(() => undefined);
    isOver = true;
    timers.forEach(clearTimeout);
    this.kept = answered;
    for (const sql of connections) if (sql !== answered) sql.end({ timeout: 0 }).catch(() => undefined);
    return { reachable: answered !== undefined, migrated: answered !== undefined && this.wasMigrated };
  }
}
