import { Column, getTableName, is, SQL } from 'drizzle-orm';

/** A selected column of a prepared query: the place of its value in the row's object, and its decoder. */
export interface SelectedField {
  /** One name, or the names of an object and of a property of it. */
  readonly path: readonly string[];
  readonly field: unknown;
}

type Decode = (value: unknown) => unknown;

/** An object in the row's object. */
interface Group {
  readonly name: string;
  readonly properties: { readonly name: string; readonly at: number; readonly decode: Decode }[];
  /** The position of the column that shows that a join found no row: then the object is null. */
  nullIf: number | undefined;
}

/**
 * Turns rows into objects as Drizzle's `mapResultRow` does, but looks at the description of the columns once and not for
 * every value of every row: with it, mapping took more time than reading a page of bots did.
 * @param required the tables that are not joined optionally; undefined if nothing is joined
 */
export function rowMapper(
  fields: readonly SelectedField[],
  required: Readonly<Record<string, boolean>> | undefined,
): (rows: readonly (readonly unknown[])[]) => Record<string, unknown>[] {
  const groups = groupsOf(fields, required);
  return (rows) =>
    rows.map((row) => {
      const result: Record<string, unknown> = {};
      for (const { name, properties, nullIf } of groups) {
        if (nullIf !== undefined && row[nullIf] === null) {
          result[name] = null;
          continue;
        }
        const target: Record<string, unknown> = name === '' ? result : (result[name] = {});
        for (const property of properties) {
          const value = row[property.at];
          target[property.name] = value === null ? null : property.decode(value);
        }
      }
      return result;
    });
}

/** The objects of a row, in the order of their first columns; properties of the row itself are groups without a name. */
function groupsOf(
  fields: readonly SelectedField[],
  required: Readonly<Record<string, boolean>> | undefined,
): Group[] {
  const groups: Group[] = [];
  /** The tables of each object's columns. */
  const tables = new Map<Group, Set<string>>();
  fields.forEach(({ path, field }, at) => {
    const [name = '', property] = path;
    if (path.length > 2) throw new TypeError(`A selection may not be nested in ${path.join('.')}`);
    const decode = decoderOf(field);
    if (property === undefined) {
      groups.push({ name: '', properties: [{ name, at, decode }], nullIf: undefined });
      return;
    }
    let group = groups.find((each) => each.name === name);
    if (!group) groups.push((group = { name, properties: [], nullIf: undefined }));
    group.properties.push({ name: property, at, decode });
    if (!required || !is(field, Column)) return;
    const known = tables.get(group);
    if (!known) group.nullIf = at;
    tables.set(group, (known ?? new Set()).add(getTableName(field.table)));
  });
  for (const [group, names] of tables) {
    const [table = ''] = names;
    if (names.size > 1 || required?.[table] === true) group.nullIf = undefined;
  }
  return groups;
}

function decoderOf(field: unknown): Decode {
  const source = (is(field, Column) ? field : (sqlOf(field) as { decoder: unknown }).decoder) as {
    mapFromDriverValue: Decode;
  };
  return (value) => source.mapFromDriverValue(value);
}

/** The expression of a column that is one, or has a name for one. */
function sqlOf(field: unknown): unknown {
  if (is(field, SQL)) return field;
  if (is(field, SQL.Aliased)) return field.sql;
  throw new TypeError('Select columns and expressions only');
}
