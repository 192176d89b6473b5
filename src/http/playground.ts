import { hash } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

const compress = promisify(gzip);

export interface PlaygroundOptions {
  /** The initial query of the editor. */
  readonly defaultQuery: string;
  /** The initial request headers of the editor, as JSON; development only, because they contain a token. */
  readonly headers: string | undefined;
}

/** A page as it is sent. */
export interface Page {
  readonly html: string;
  readonly gzipped: Buffer;
  /** The page runs only its own scripts, and sends requests only to this server. */
  readonly policy: string;
}

export interface Playground {
  /** @param withHeaders whether the page may contain the headers of the options, and so the token */
  page(withHeaders: boolean): Promise<Page>;
}

/**
 * GraphiQL as one self-contained page that loads nothing from the internet. The page is large, so it is made and
 * compressed once, at the first request.
 */
export function createPlayground(options: PlaygroundOptions): Playground {
  const made = new Map<boolean, Promise<Page>>();
  const make = async (withHeaders: boolean): Promise<Page> => {
    const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
    const rendered = renderGraphiQL({
      title: 'Flovo Bots',
      endpoint: '/graphql',
      // A stored token would outlive the data folder whose secret signed it.
      shouldPersistHeaders: false,
      defaultQuery: options.defaultQuery,
      ...(withHeaders && options.headers !== undefined ? { headers: options.headers } : {}),
    });
    const html = rendered.replace('<title>', () => `${startWith(options.defaultQuery)}<title>`);
    return { html, gzipped: await compress(html), policy: policyFor(html) };
  };
  return {
    async page(withHeaders) {
      const page = made.get(withHeaders) ?? make(withHeaders);
      made.set(withHeaders, page);
      return await page;
    },
  };
}

/** The editor loads its workers from blobs, and writes styles. */
function policyFor(html: string): string {
  const scripts = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(
    ([, script = '']) => `'sha256-${hash('sha256', script, 'base64')}'`,
  );
  return [
    "default-src 'none'",
    `script-src ${scripts.join(' ')} blob:`,
    "style-src 'unsafe-inline'",
    'img-src data:',
    'font-src data:',
    'worker-src blob:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

/** GraphiQL adds an empty tab on every reload, unless the URL contains the initial query. */
const startWith = (query: string): string => `<script>
  if (!new URLSearchParams(location.search).has('query')) {
    history.replaceState(null, '', '?query=' + encodeURIComponent(${JSON.stringify(query)}));
  }
</script>`;
