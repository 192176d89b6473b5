/**
 * The server at a database URL: PostgreSQL itself, or a pooler such as PgBouncer, which gives each transaction
 * another session. Behind a pooler, nothing that belongs to a session (named prepared statements, settings,
 * session-level locks) may be used.
 */
export type EndpointKind = 'direct' | 'pooled';

/** The known kinds, by the URLs that this process uses: one, or a few in tests. */
const kinds = new Map<string, EndpointKind>();

/** Undefined until the first connection was made; callers then assume a pooler, which works everywhere. */
export const endpointKind = (url: string): EndpointKind | undefined => kinds.get(url);

export const rememberEndpointKind = (url: string, kind: EndpointKind): void => {
  kinds.set(url, kind);
};
