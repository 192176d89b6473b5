import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

const compress = promisify(gzip);

export interface PlaygroundOptions {
  /** The query that the editor starts with. */
  readonly defaultQuery: string;
  /** Request headers that the editor starts with, as JSON; development only, because it holds a token. */
  readonly headers: string | undefined;
}

export interface Playground {
  readonly html: string;
  readonly gzipped: Buffer;
}

/**
 * GraphiQL as one self-contained page: it loads nothing from the internet. It is large, so it is made and compressed
 * once, when it is first asked for.
 */
export function createPlayground(options: PlaygroundOptions): () => Promise<Playground> {
  let made: Promise<Playground> | undefined;
  const make = async (): Promise<Playground> => {
    const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
    const html = renderGraphiQL({
      title: 'Flovo Bots',
      endpoint: '/graphql',
      // A kept token outlives the data folder that it was signed for.
      shouldPersistHeaders: false,
      defaultQuery: options.defaultQuery,
      ...(options.headers === undefined ? {} : { headers: options.headers }),
    });
    const page = html.replace('<title>', () => `${startWith(options.defaultQuery)}<title>`);
    return { html: page, gzipped: await compress(page) };
  };
  return async () => await (made ??= make());
}

/** GraphiQL adds an empty tab on every reload, unless the query that it starts with is in the URL, where it keeps it. */
const startWith = (query: string): string => `<script>
  if (!new URLSearchParams(location.search).has('query')) {
    history.replaceState(null, '', '?query=' + encodeURIComponent(${JSON.stringify(query)}));
  }
</script>`;
