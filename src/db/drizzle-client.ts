import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import type { TransactionSql } from 'postgres';

import type { Sql } from './driver.js';
import { rowMapper, type SelectedField } from './row-mapper.js';
import type { StatementClient, StatementExecutor } from './statements.js';

export type Database = PostgresJsDatabase;

/** Executes a transaction, as the driver's function of this name does. */
type Begin = <T>(work: (sql: TransactionSql) => Promise<T>) => Promise<T>;

type ExecuteOn = (executor: StatementExecutor, values?: Record<string, unknown>) => Promise<unknown>;

/** What executes the statements of a client. */
const executors = new WeakMap<object, StatementExecutor>();
/** How a prepared statement is executed. */
const executions = new WeakMap<object, ExecuteOn>();

/** Drizzle's form of a prepared statement. */
interface PreparedQuery {
  execute(values?: Record<string, unknown>): Promise<unknown>;
  getQuery(): { readonly sql: string };
  readonly fields?: readonly SelectedField[] | undefined;
  /** Known only after the query was prepared. */
  readonly joinsNotNullableMap?: Readonly<Record<string, boolean>>;
}

interface Session {
  prepareQuery(...description: unknown[]): PreparedQuery;
}

/**
 * A Drizzle client that sends all statements through the executor. Each execution uses the connection that the
 * executor chose; Drizzle only writes the SQL and reads the rows.
 */
export function drizzleOn(statements: StatementExecutor, begin: Begin = refuseTransaction): Database {
  const client = { options: { parsers: {}, serializers: {} }, begin };
  const db = drizzle(client as unknown as Sql);
  const session = db._.session as unknown as Session;
  const prepareQuery = session.prepareQuery.bind(session);
  executors.set(db, statements);
  session.prepareQuery = (...description) => {
    const prepared = prepareQuery(...description);
    const { execute, fields } = prepared;
    const isRead = /^\s*select\b/i.test(prepared.getQuery().sql);
    const on = (client: StatementClient): unknown => Object.assign(Object.create(prepared), { client });
    const executeOn: ExecuteOn = async (executor, values) =>
      await executor.run(isRead, async (client) => await execute.call(on(client), values));
    if (fields) {
      let mapper: ReturnType<typeof rowMapper> | undefined;
      Object.defineProperty(prepared, 'customResultMapper', {
        get: () => (mapper ??= rowMapper(fields, prepared.joinsNotNullableMap)),
      });
    }
    prepared.execute = async (values) => await executeOn(statements, values);
    executions.set(prepared, executeOn);
    return prepared;
  };
  return db;
}

function refuseTransaction(): never {
  throw new Error('The work in one snapshot is a transaction already');
}

/**
 * A copy of a repository whose statements are executed by another client. Writing the SQL of all repositories takes
 * milliseconds of CPU; a copy takes the prepared statements as they are. They may be properties, or values of a Map.
 */
export function repositoryOn<Repository extends object>(db: Database, repository: Repository): Repository {
  const executor = executors.get(db);
  if (!executor) throw new TypeError('The client was not made by drizzleOn()');
  const rebound = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    if (executors.has(value)) return db;
    if (value instanceof Map) return new Map([...value].map(([key, kept]) => [key, rebound(kept)]));
    const executeOn = executions.get(value);
    // Anything else could contain a client, whose statements would be executed elsewhere.
    if (!executeOn) throw new TypeError('A repository may keep only clients and prepared statements');
    const execute = async (values?: Record<string, unknown>) => await executeOn(executor, values);
    return Object.assign(Object.create(value) as object, { execute });
  };
  const copy = Object.create(Object.getPrototypeOf(repository) as object) as Record<string, unknown>;
  for (const [name, value] of Object.entries(repository)) copy[name] = rebound(value);
  return copy as Repository;
}
