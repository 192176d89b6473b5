import postgres from 'postgres';

export type Sql = postgres.Sql;

/** Types of the statements' array parameters, by their oids in `pg_type`. */
const ARRAY_TYPES = { int4: 1007, text: 1009, int8: 1016, uuid: 2951 };

/**
 * Opens the driver, as every connection to the database is opened.
 *
 * It does not ask each new connection for the array types that there are, as the driver does by default: nobody waits for
 * that query, so losing the connection during it ends the process (https://github.com/porsager/postgres/issues/1192). The
 * array types of parameters are declared here instead; arrays of enums are to be cast from `text[]`, and arrays in
 * results to be read as JSON. What else the driver gets wrong about lost connections is mended in `patches/`.
 */
export function openDriver(url: string, options: postgres.Options<Record<string, never>>): Sql {
  const types = Object.entries(ARRAY_TYPES).map(([name, oid]) => [
    name,
    { to: oid, from: [], serialize: toArrayLiteral, parse: undefined },
  ]);
  return postgres(url, {
    ...options,
    fetch_types: false,
    types: Object.fromEntries(types) as Record<string, never>,
    onnotice: () => {},
  });
}

/** An array as PostgreSQL reads it: `{"a","say \"hi\"",NULL}`. */
function toArrayLiteral(values: readonly (string | number | null)[]): string {
  const elements = values.map((value) =>
    value === null ? 'NULL' : `"${String(value).replaceAll(/["\\]/g, '\\$&')}"`,
  );
  return `{${elements.join(',')}}`;
}
