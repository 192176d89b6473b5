import postgres from 'postgres';

export type Sql = postgres.Sql;

/** Settings of a connection that the cache opens for itself. */
export type ConnectionOptions = Pick<
  postgres.Options<Record<string, never>>,
  'max' | 'connect_timeout' | 'idle_timeout' | 'max_lifetime'
> & { readonly connection: { readonly application_name: string } };

/** Returns a client of the primary database, which connects when it is first used. */
export type OpenConnection = (options: ConnectionOptions) => Sql;

/**
 * Opens connections with the driver's defaults. Behind a pooler in transaction mode, or for settings that a URL
 * cannot express, pass your own function instead.
 * @param url `postgres://user:password@host:port/database`
 */
export const connectionTo =
  (url: string): OpenConnection =>
  (options) =>
    // The cache's statements need no array types, which the driver would otherwise query on each new connection.
    postgres(url, { ...options, fetch_types: false, onnotice: () => {} });
