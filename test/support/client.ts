import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { print } from 'graphql';

export interface GraphQLAnswer<Data> {
  readonly status: number;
  readonly data?: Data | null;
  readonly errors?: readonly {
    readonly message: string;
    readonly path?: readonly (string | number)[];
    readonly extensions: { readonly code: string; readonly field?: string; readonly requestId?: string };
  }[];
}

/** A front end: sends typed operations over HTTP with one user's token. */
export class Client {
  constructor(
    readonly url: string,
    readonly token: string | undefined,
  ) {}

  /** The whole answer, errors included. */
  async send<Data, Variables>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
    headers?: Record<string, string>,
  ): Promise<GraphQLAnswer<Data>> {
    return await this.sendText<Data>(print(document), variables, headers);
  }

  /** As {@link send}, for documents without generated types. */
  async sendText<Data = Record<string, unknown>>(
    query: string,
    variables?: unknown,
    headers: Record<string, string> = {},
  ): Promise<GraphQLAnswer<Data>> {
    const response = await fetch(this.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
        ...headers,
      },
      body: JSON.stringify({ query, variables }),
    });
    return { status: response.status, ...((await response.json()) as object) };
  }

  /** The data. @throws Error with the answer's errors, if it has any */
  async ask<Data, Variables>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
  ): Promise<Data> {
    const answer = await this.send(document, variables);
    if (answer.errors || !answer.data) throw new Error(`Unexpected errors: ${JSON.stringify(answer.errors)}`);
    return answer.data;
  }

  /** The code of the first error. @throws Error if there is none */
  async failure<Data, Variables>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
  ): Promise<{ code: string; field?: string; message: string; data: Data | null | undefined }> {
    const answer = await this.send(document, variables);
    const error = answer.errors?.[0];
    if (!error) throw new Error(`Expected an error, got ${JSON.stringify(answer.data)}`);
    const { code, field } = error.extensions;
    return { code, message: error.message, data: answer.data, ...(field === undefined ? {} : { field }) };
  }
}
