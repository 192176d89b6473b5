import { hash } from 'node:crypto';
import type { ApolloServerOptions, ApolloServerPlugin, BaseContext } from '@apollo/server';
import type { DocumentNode } from 'graphql';
import { LRUCache } from 'lru-cache';

import type { OperationContext } from './operation-context.js';

type Apollo = ApolloServerOptions<BaseContext>;

/** Memory of all parsed documents, and of all persisted queries, in bytes. */
const MAX_DOCUMENT_BYTES = 24 * 1024 * 1024;
const MAX_PERSISTED_BYTES = 8 * 1024 * 1024;
/** What V8 takes for a token of a parsed document and the nodes that hold it: measured, and rounded up. */
const BYTES_PER_TOKEN = 400;
const BYTES_PER_ENTRY = 1_000;
/** Documents are remembered up to this length; longer ones hold their data, and hardly come again. */
const MAX_CHARACTERS = 100_000;

/**
 * Documents that Apollo Server has parsed and found valid, by the SHA-256 of their text, so that they need be neither
 * parsed nor validated again. Only documents of callers with a valid token are remembered, persisted queries included,
 * and all of them take a bounded amount of memory.
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

  /** Remembers what Apollo Server lets through. */
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

  /** Where Apollo Server looks for parsed documents; what it would store there comes from {@link plugin}. */
  get documentStore(): NonNullable<Apollo['documentStore']> {
    return {
      get: async (key) => await Promise.resolve(this.documents.get(key.slice(key.lastIndexOf(':') + 1))),
      set: async () => await Promise.resolve(),
      delete: async () => await Promise.resolve(),
    };
  }

  /** Where Apollo Server keeps the texts of automatic persisted queries. */
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

/** The memory of a parsed document in bytes, about: its tokens are linked to each other. */
function memoryOf(document: DocumentNode): number {
  let tokens = 0;
  for (let token = document.loc?.startToken; token; token = token.next ?? undefined) tokens++;
  return BYTES_PER_ENTRY + 2 * (document.loc?.end ?? 0) + tokens * BYTES_PER_TOKEN;
}
