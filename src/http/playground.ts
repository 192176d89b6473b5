import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

const compress = promisify(gzip);

export interface PlaygroundOptions {
  /** The initial query of the editor. */
  readonly defaultQuery: string;
  /** The initial request headers of the editor, as JSON; development only, because they contain a token. */
  readonly headers: string | undefined;
}

export interface Playground {
  readonly html: string;
  readonly gzipped: Buffer;
}

/**
 * GraphiQL as one self-contained page that loads nothing from the internet. The page is large, so it is made and
 * compressed once, at the first request.
 */
export function createPlayground(options: PlaygroundOptions): () => Promise<Playground> {
  let made: Promise<Playground> | undefined;
  const make = async (): Promise<Playground> => {
    const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
    const html = renderGraphiQL({
      title: 'Flovo Bots',
      endpoint: '/graphql',
      // A stored token would outlive the data folder whose secret signed it.
      shouldPersistHeaders: false,
      defaultQuery: options.defaultQuery,
      ...(options.headers === undefined ? {} : { headers: options.headers }),
    });
    const page = html.replace('<title>', () => `${startWith(options.defaultQuery)}<title>`);
    return { html: page, gzipped: await compress(page) };
  };
  return async () => await (made ??= make());
}

/** GraphiQL adds an empty tab on every reload, unless the URL contains the initial query. */
const startWith = (query: string): string => `<script>
  if (!new URLSearchParams(location.search).has('query')) {
    history.replaceState(null, '', '?query=' + encodeURIComponent(${JSON.stringify(query)}));
  }
</script>`;
