/**
 * A client without dependencies that gets through restarts: it sends a request again that was not answered, or whose
 * error says `retryable`. Each mutation has an `Idempotency-Key`, the same for all its attempts, so that the server
 * makes it once.
 */
export interface ClientOptions {
  readonly url: string;
  /** The headers of a request, such as `authorization`. They are asked for at each attempt: a token may expire meanwhile. */
  readonly headers: () => Readonly<Record<string, string>>;
  /** When the last error is returned instead of trying again (ms). */
  readonly giveUpAfterMs?: number;
  /** The longest pause between two attempts (ms). */
  readonly maxPauseMs?: number;
  /** `false`: mutations are sent without a key, and one that is sent again may be made twice. */
  readonly idempotencyKeys?: boolean;
}

export interface Answer<Data> {
  readonly data?: Data | null;
  readonly errors?: readonly {
    readonly message: string;
    readonly extensions?: { readonly code?: string; readonly retryable?: boolean };
  }[];
}

const FIRST_PAUSE_MS = 50;

export class FetchClient {
  constructor(private readonly options: ClientOptions) {}

  async query<Data>(document: string, variables?: object): Promise<Answer<Data>> {
    return await this.send(document, variables, {});
  }

  async mutate<Data>(document: string, variables?: object): Promise<Answer<Data>> {
    const { idempotencyKeys = true } = this.options;
    return await this.send(
      document,
      variables,
      idempotencyKeys ? { 'idempotency-key': crypto.randomUUID() } : {},
    );
  }

  /** @throws the last error of the network, if no attempt was answered in time */
  private async send<Data>(
    query: string,
    variables: object | undefined,
    headers: Readonly<Record<string, string>>,
  ): Promise<Answer<Data>> {
    const { giveUpAfterMs = 30_000, maxPauseMs = 2_000 } = this.options;
    const giveUpAt = performance.now() + giveUpAfterMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, maxPauseMs)) {
      const attempt = await this.attempt<Data>(query, variables, headers);
      const waitMs = attempt.retryAfterMs ?? pauseMs * (0.5 + Math.random() / 2);
      if (attempt.isFinal || performance.now() + waitMs > giveUpAt) {
        if (attempt.answer) return attempt.answer;
        throw attempt.error;
      }
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  private async attempt<Data>(
    query: string,
    variables: object | undefined,
    headers: Readonly<Record<string, string>>,
  ): Promise<Attempt<Data>> {
    try {
      const response = await fetch(this.options.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...this.options.headers(), ...headers },
        body: JSON.stringify({ query, variables }),
      });
      const seconds = Number(response.headers.get('retry-after'));
      const answer = (await response.json()) as Answer<Data>;
      const isRetryable =
        response.status === 503 || answer.errors?.some(({ extensions }) => extensions?.retryable);
      return {
        answer,
        isFinal: !isRetryable,
        ...(seconds > 0 ? { retryAfterMs: seconds * 1_000 } : {}),
      };
    } catch (error) {
      // No answer, or one of a proxy, which is not JSON.
      return { error, isFinal: false };
    }
  }
}

interface Attempt<Data> {
  readonly answer?: Answer<Data>;
  readonly error?: unknown;
  /** Whether another attempt would not change the answer. */
  readonly isFinal: boolean;
  /** How long the server asks the client to wait. */
  readonly retryAfterMs?: number;
}
