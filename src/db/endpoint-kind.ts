/**
 * What answers at a database URL: PostgreSQL itself, or a pooler such as PgBouncer, which gives each transaction another
 * session. What belongs to a session (named prepared statements, settings, session-level locks) must not be used there.
 */
export type EndpointKind = 'direct' | 'pooled';

/** What is known of the URLs that this process uses: one, or a few in tests. */
const kinds = new Map<string, EndpointKind>();

/** Undefined until a connection has told; to be treated as pooled, which is right everywhere. */
export const endpointKind = (url: string): EndpointKind | undefined => kinds.get(url);

export const rememberEndpointKind = (url: string, kind: EndpointKind): void => {
  kinds.set(url, kind);
};
