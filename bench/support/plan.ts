/** A node of a plan, as `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)` writes it; only what is shown. */
interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Subplan Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Relation Name'?: string;
  readonly 'CTE Name'?: string;
  readonly 'Index Cond'?: string;
  readonly 'Sort Method'?: string;
  readonly 'Plan Rows': number;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Actual Total Time': number;
  readonly 'Shared Hit Blocks'?: number;
  readonly 'Shared Read Blocks'?: number;
  readonly 'Temp Written Blocks'?: number;
  readonly 'Rows Removed by Index Recheck'?: number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Heap Fetches'?: number;
  readonly Plans?: readonly PlanNode[];
}

/** The log entry of auto_explain for one execution. */
export interface ExplainedStatement {
  readonly durationMs: number;
  readonly text: string;
  /** Whether the plan was made for any parameters (`$1` in its conditions), not for these ones. */
  readonly generic: boolean;
  readonly lines: readonly string[];
}

/** Reads a notice of auto_explain (`log_format = json`); undefined for any other notice. */
export function readPlanNotice(message: string): ExplainedStatement | undefined {
  const [, duration, json] = /^duration: ([\d.]+) ms\s+plan:\s*([^]*)$/.exec(message) ?? [];
  if (duration === undefined || json === undefined) return undefined;
  const explained = JSON.parse(json) as { 'Query Text': string; Plan: PlanNode };
  return {
    durationMs: Number(duration),
    text: explained['Query Text'],
    generic: conditionsOf(explained.Plan).some((condition) => /\$\d/.test(condition)),
    lines: describe(explained.Plan, 0),
  };
}

const conditionsOf = (node: PlanNode): string[] => [
  node['Index Cond'] ?? '',
  ...(node.Plans ?? []).flatMap(conditionsOf),
];

function describe(node: PlanNode, depth: number): string[] {
  const on = node['Index Name'] ?? node['Relation Name'] ?? node['CTE Name'];
  const name = node['Subplan Name'] === undefined ? '' : `${node['Subplan Name']}: `;
  const loops = node['Actual Loops'] === 1 ? '' : ` ×${node['Actual Loops']}`;
  const details = [
    `rows ${node['Plan Rows']} → ${node['Actual Rows']}${loops}`,
    `${node['Actual Total Time'].toFixed(2)} ms`,
    `buffers ${node['Shared Hit Blocks'] ?? 0}+${node['Shared Read Blocks'] ?? 0}`,
    ...labelled('recheck removed', node['Rows Removed by Index Recheck']),
    ...labelled('filter removed', node['Rows Removed by Filter']),
    ...labelled('heap fetches', node['Heap Fetches']),
    ...labelled('temp blocks', node['Temp Written Blocks']),
    ...(node['Sort Method'] === undefined ? [] : [node['Sort Method']]),
  ];
  const line = `${'  '.repeat(depth)}${name}${node['Node Type']}${on === undefined ? '' : ` [${on}]`} (${details.join(', ')})`;
  return [line, ...(node.Plans ?? []).flatMap((child) => describe(child, depth + 1))];
}

const labelled = (label: string, count: number | undefined): string[] =>
  count === undefined || count === 0 ? [] : [`${label} ${count}`];
