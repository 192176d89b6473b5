import { hash } from 'node:crypto';
import type { ApolloServerOptions, ApolloServerPlugin, BaseContext } from '@apollo/server';
import type { DocumentNode } from 'graphql';
import { LRUCache } from 'lru-cache';

import type { OperationContext } from './operation-context.js';

type Apollo = ApolloServerOptions<BaseContext>;

/** The maximum memory of all parsed documents, and of all persisted queries, in bytes. */
const MAX_DOCUMENT_BYTES = 24 * 1024 * 1024;
const MAX_PERSISTED_BYTES = 8 * 1024 * 1024;
/** V8's memory for a token of a parsed document and its nodes, in bytes: measured, and rounded up. */
const BYTES_PER_TOKEN = 400;
const BYTES_PER_ENTRY = 1_000;
/** The maximum length of a remembered document; longer ones contain their data, and seldom come again. */
const MAX_CHARACTERS = 100_000;

/**
 * Documents that Apollo Server has parsed and found valid, by the SHA-256 of their text, so that it need not parse or
 * validate them again. Only documents of callers with a valid token are remembered, persisted queries included. Their
 * total memory is limited.
 */
export class DocumentCache {
  private readonly documents: LRUCache<string, DocumentNode>;
  private readonly persisted = new LRUCache<string, string>({
    maxSize: MAX_PERSISTED_BYTES,
    sizeCalculation: (text) => BYTES_PER_ENTRY + 2 * text.length,
  });

  constructor(maxBytes = MAX_DOCUMENT_BYTES) {
    this.documents = new LRUCache({ maxSize: maxBytes, sizeCalculation: memoryOf });
  }

  get(text: string): DocumentNode | undefined {
    return this.documents.get(hash('sha256', text));
  }

  /** Remembers the documents that Apollo Server accepts. */
  get plugin(): ApolloServerPlugin<OperationContext> {
    const { documents } = this;
    return {
      async requestDidStart() {
        return {
          async didResolveOperation({ source, queryHash, document, contextValue, metrics }) {
            const isWorthIt = contextValue.authorization.isAuthenticated && source.length <= MAX_CHARACTERS;
            if (isWorthIt) documents.set(queryHash, document);
            else metrics.persistedQueryRegister = false;
          },
        };
      },
    };
  }

  /**
   * Apollo Server reads parsed documents from this store. Writing to it has no effect: {@link plugin} remembers
   * documents.
   */
  get documentStore(): NonNullable<Apollo['documentStore']> {
    return {
      get: async (key) => await Promise.resolve(this.documents.get(key.slice(key.lastIndexOf(':') + 1))),
      set: async () => await Promise.resolve(),
      delete: async () => await Promise.resolve(),
    };
  }

  /** The store of the texts of Apollo Server's automatic persisted queries. */
  get persistedQueries(): Exclude<Apollo['persistedQueries'], false | undefined> {
    const { persisted } = this;
    return {
      cache: {
        get: async (key) => await Promise.resolve(persisted.get(key)),
        set: async (key, text) => {
          persisted.set(key, text);
          await Promise.resolve();
        },
        delete: async (key) => await Promise.resolve(persisted.delete(key)),
      },
    };
  }
}

/** The approximate memory of a parsed document, in bytes. Its tokens are a linked list. */
export function memoryOf(document: DocumentNode): number {
  let tokens = 0;
  for (let token = document.loc?.startToken; token; token = token.next ?? undefined) tokens++;
  return BYTES_PER_ENTRY + 2 * (document.loc?.end ?? 0) + tokens * BYTES_PER_TOKEN;
}
