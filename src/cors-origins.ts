/** A mistake in a list of origins; the message follows the name of its setting. */
export class CorsOriginError extends Error {
  override readonly name = 'CorsOriginError';
}

/** Schemes whose pages have no origin of their own, and schemes that pages do not have. */
const NOT_OF_PAGES: ReadonlySet<string> = new Set(['file:', 'data:', 'blob:', 'ws:', 'wss:', 'ftp:']);

/**
 * Reads origins separated by commas or blanks, and writes each as browsers do in the header `Origin`, because they are
 * compared as texts: lower case, no default port, no slash at the end.
 *
 * @returns `*` for all origins
 * @throws CorsOriginError for a text that no browser would send
 */
export function parseCorsOrigins(text: string): readonly string[] | '*' {
  const names = text.split(/[\s,]+/).filter((name) => name !== '');
  if (names.length === 0) throw new CorsOriginError('names no origin, such as https://app.example.com');
  if (names.length === 1 && names[0] === '*') return '*';
  return [...new Set(names.map(parseCorsOrigin))];
}

function parseCorsOrigin(name: string): string {
  // The message leaves out a text that may contain a password.
  const shown = name.includes('@') ? 'an origin' : `"${name.slice(0, 200)}"`;
  const refuse = (mistake: string) => new CorsOriginError(`holds ${shown}, ${mistake}`);
  if (name.includes('@')) throw refuse('which must not have a user or password');
  if (name === 'null') throw refuse('which any page can send from a sandboxed frame');
  if (name.includes('*')) {
    throw refuse('but patterns are not supported; name each origin, or * alone for all');
  }
  if (!/^[a-z][a-z\d+.-]*:\/\//i.test(name)) throw refuse('which must begin with https:// or http://');
  const url = URL.canParse(name) ? new URL(name) : undefined;
  if (!url || url.host === '') {
    if (url && NOT_OF_PAGES.has(url.protocol)) throw refuse('which is no origin of a page');
    throw refuse('which is no origin, such as https://app.example.com');
  }
  if (NOT_OF_PAGES.has(url.protocol)) throw refuse('which is no origin of a page');
  if (!/^\/?$/.test(url.pathname) || /[?#]/.test(name)) {
    throw refuse('which must end after the host and port, without a path');
  }
  // Apps and browser extensions use their own schemes, for which `URL` returns no origin.
  return `${url.protocol}//${url.host}`.toLowerCase();
}
