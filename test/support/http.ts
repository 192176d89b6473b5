import { once } from 'node:events';
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

/** Begins a request, and sends its headers: unlike `fetch`, `node:http` sends any header. */
export function begin(
  url: string | URL,
  options: {
    readonly method?: string;
    readonly headers?: Record<string, string>;
    readonly path?: string;
  } = {},
): { readonly request: ClientRequest; readonly answer: Promise<HttpAnswer> } {
  const request = httpRequest(url, { ...options, agent: false });
  const answer = answerTo(request);
  // A test may end before an answer that it does not await.
  answer.catch(() => undefined);
  request.flushHeaders();
  return { request, answer };
}

/** Sends a request with a body or none. */
export async function ask(
  url: string | URL,
  options: Parameters<typeof begin>[1] & { readonly body?: string } = {},
): Promise<HttpAnswer> {
  const { body, ...head } = options;
  const { request, answer } = begin(url, head);
  request.end(body);
  return await answer;
}

async function answerTo(request: ClientRequest): Promise<HttpAnswer> {
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk as string;
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}

/** The codes of the errors in an answer. */
export const codesIn = ({ text }: Pick<HttpAnswer, 'text'>): string[] =>
  ((JSON.parse(text) as { errors?: { extensions: { code: string } }[] }).errors ?? []).map(
    ({ extensions }) => extensions.code,
  );
