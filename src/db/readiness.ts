import { openDriver, type Sql } from './driver.js';
import { findEndpointKind } from './pooler-detection.js';
import { isMigrated } from './migrate.js';

/** The state of the database, as the readiness check reports it. */
export interface DatabaseState {
  readonly reachable: boolean;
  readonly migrated: boolean;
}

/** A second connection is tried after this long (ms): a first one without a reply may be dead. */
const SECOND_LOOK_AFTER_MS = 250;
/** The state is returned after this long (ms), with what is known by then. */
const ANSWER_AFTER_MS = 750;

const CONNECTION = {
  max: 1,
  connect_timeout: 1,
  max_lifetime: null,
  connection: { application_name: 'flovo-bots readiness' },
  // The check does not wait longer than this, so PostgreSQL need not continue either.
  sessionSettings: { lock_timeout: '500', statement_timeout: '700' },
};

/** Checks the database over a separate connection, and returns within a second, whatever the database does. */
export class DatabaseProbe {
  private connection: Sql | undefined;
  private looking: Promise<DatabaseState> | undefined;
  /** The last result; it is returned while the list of migrations is locked. */
  private wasMigrated = false;

  constructor(private readonly url: string) {}

  async state(): Promise<DatabaseState> {
    this.looking ??= this.look().finally(() => {
      this.looking = undefined;
    });
    return await this.looking;
  }

  async close(): Promise<void> {
    await this.connection?.end({ timeout: 1 });
  }

  private async look(): Promise<DatabaseState> {
    const connections: Sql[] = this.connection ? [this.connection] : [];
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
    // The reason of a failure does not matter: the database counts as unreachable.
    await Promise.race([Promise.any([ask(this.connection), second]), wait(ANSWER_AFTER_MS)]).catch(
      () => undefined,
    );
    isOver = true;
    timers.forEach(clearTimeout);
    this.connection = answered;
    for (const sql of connections) if (sql !== answered) sql.end({ timeout: 0 }).catch(() => undefined);
    return { reachable: answered !== undefined, migrated: answered !== undefined && this.wasMigrated };
  }
}
