/**
 * Headers of every answer. An answer is data: no browser may take it for a page or a script, show it in a frame, or load
 * it into a page of another site. Pages of this server replace the policy of their content. The list is fixed, so that
 * it costs an answer nothing but its bytes. Strict-Transport-Security is missing, because browsers ignore it without
 * TLS: whatever ends TLS in front of the server adds it.
 */
export const SECURITY_HEADERS: readonly (readonly [name: string, value: string])[] = [
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
  ['cross-origin-resource-policy', 'same-origin'],
  ['referrer-policy', 'no-referrer'],
  ['x-content-type-options', 'nosniff'],
];
