import postgres from 'postgres';

export type Sql = postgres.Sql;

/** Settings of a connection of the cache's own. */
export type ConnectionOptions = Pick<
  postgres.Options<Record<string, never>>,
  'max' | 'connect_timeout' | 'idle_timeout' | 'max_lifetime'
> & { readonly connection: { readonly application_name: string } };

/** Opens connections to the primary database, made when they are first needed. */
export type OpenConnection = (options: ConnectionOptions) => Sql;

/**
 * Opens connections as the driver does by default. Behind a pooler in transaction mode, or for settings that a URL cannot
 * express, pass a function of your own instead.
 * @param url `postgres://user:password@host:port/database`
 */
export const connectionTo =
  (url: string): OpenConnection =>
  (options) =>
    // The statements of the cache need no types of arrays, for which the driver would ask each new connection.
    postgres(url, { ...options, fetch_types: false, onnotice: () => {} });
