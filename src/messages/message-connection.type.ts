import { Field, ObjectType } from 'type-graphql';

import { PageInfo } from '../graphql/page-info.type.js';
import { Message } from './message.type.js';

/** The maximum and the default number of messages on a page. */
export const MAX_PAGE_SIZE = 100;
export const DEFAULT_PAGE_SIZE = 20;

/** The cached part of a page of messages; the rest follows from it. */
export interface MessagePageContent {
  readonly edges: readonly MessageEdge[];
  readonly hasNextPage: boolean;
  readonly hasPreviousPage: boolean;
}

@ObjectType({ simpleResolvers: true })
export class MessageEdge {
  @Field(() => String, { description: 'Names the place of the message, for `after`.' })
  readonly cursor!: string;

  @Field(() => Message)
  readonly node!: Message;
}

@ObjectType({ simpleResolvers: true, description: "A page of a bot's messages, newest first." })
export class MessageConnection {
  @Field(() => [MessageEdge])
  readonly edges!: readonly MessageEdge[];

  @Field(() => [Message])
  readonly nodes!: readonly Message[];

  @Field(() => PageInfo)
  readonly pageInfo!: PageInfo;

  static of({ edges, hasNextPage, hasPreviousPage }: MessagePageContent): MessageConnection {
    return {
      edges,
      nodes: edges.map(({ node }) => node),
      pageInfo: {
        hasNextPage,
        hasPreviousPage,
        startCursor: edges[0]?.cursor ?? null,
        endCursor: edges.at(-1)?.cursor ?? null,
      },
    };
  }
}
