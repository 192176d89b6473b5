import type postgres from 'postgres';

import { connectDatabase, type Database } from '../../src/db/client.js';

/** A node of a plan as `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)` prints it. */
export interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
  readonly Plans?: readonly PlanNode[];
}

/** A node and all nodes below it. */
export const nodesOf = (plan: PlanNode): PlanNode[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];

/** A connection for a repository, and the statements that the repository has sent. */
export function connectRecording(url: string): {
  readonly db: Database;
  readonly statements: string[];
  readonly close: () => Promise<void>;
} {
  const statements: string[] = [];
  const { db, close } = connectDatabase({
    url,
    poolMax: 1,
    toError: ({ message }) => new Error(message),
    onStatement: (statement) => statements.push(statement),
  });
  return { db, statements, close };
}

/**
 * Executes a statement and returns its plan and duration (ms).
 * @param parameters SQL literals
 * @param mode whether PostgreSQL plans for these parameters or for any
 */
export async function explain(
  session: postgres.ReservedSql,
  statement: string,
  parameters: readonly string[],
  mode: 'custom' | 'generic',
): Promise<{ readonly plan: PlanNode; readonly ms: number }> {
  await session.unsafe(`set plan_cache_mode = force_${mode}_plan; prepare explained as ${statement}`);
  const [row] = await session.unsafe<[{ 'QUERY PLAN': [{ Plan: PlanNode; 'Execution Time': number }] }]>(
    `explain (analyze, buffers, format json) execute explained (${parameters.join(', ')})`,
  );
  await session.unsafe('deallocate explained');
  const [{ Plan: plan, 'Execution Time': ms }] = row['QUERY PLAN'];
  return { plan, ms };
}
