/** A table of the report. */
export interface Table {
  readonly title: string;
  /** Notes for the reader. */
  readonly notes: readonly string[];
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** A table for a terminal. */
export function toText({ title, columns, rows }: Table): string {
  const widths = columns.map((column, i) =>
    Math.max(column.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `  ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')}`;
  return ['', title, line(columns), ...rows.map(line)].join('\n');
}

/** A table for a Markdown document. */
export function toMarkdown({ title, notes, columns, rows }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    `## ${title}`,
    '',
    ...notes.flatMap((note) => [note, '']),
    line(columns),
    line(columns.map((_, i) => (i === 0 ? '---' : '---:'))),
    ...rows.map(line),
    '',
  ].join('\n');
}

/** A number with no, one or two decimals, by its size. */
export function figure(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '–';
  if (value >= 100) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(value >= 10 ? 1 : 2);
}

/** A share as a percentage. */
export const percent = (part: number | undefined): string =>
  part === undefined || Number.isNaN(part) ? '–' : `${(part * 100).toFixed(1)} %`;

/** A ratio. */
export const times = (ratio: number | undefined): string =>
  ratio === undefined || !Number.isFinite(ratio) ? '–' : `${ratio.toFixed(2)} ×`;
