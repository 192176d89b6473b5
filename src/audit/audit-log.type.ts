import { Field, ID, ObjectType } from 'type-graphql';

import { DateTime } from '../graphql/date-time.scalar.js';
import { PageInfo } from '../graphql/page-info.type.js';

/** The maximum and the default number of entries on a page. */
export const MAX_PAGE_SIZE = 100;
export const DEFAULT_PAGE_SIZE = 20;

@ObjectType({ simpleResolvers: true, description: 'A change that a mutation has made.' })
export class AuditEntry {
  @Field(() => ID)
  readonly id!: string;

  @Field(() => DateTime, { description: 'When the transaction of the change began.' })
  readonly at!: string;

  @Field(() => ID, { description: 'The user who made the change, who may be deleted since.' })
  readonly userId!: string;

  @Field(() => String, { description: 'The field of the mutation: `createBot`.' })
  readonly mutation!: string;

  @Field(() => [ID], {
    description: 'The bot, and the messages if there are any. They may be deleted since.',
  })
  readonly entityIds!: readonly string[];

  @Field(() => String, { description: 'The `x-request-id` of the request, by which logs can be searched.' })
  readonly requestId!: string;

  @Field(() => String, {
    nullable: true,
    description: 'The `Idempotency-Key` of the request, if it had one.',
  })
  readonly idempotencyKey!: string | null;
}

@ObjectType({ simpleResolvers: true })
export class AuditEdge {
  @Field(() => String, { description: 'Names the place of the entry, for `after`.' })
  readonly cursor!: string;

  @Field(() => AuditEntry)
  readonly node!: AuditEntry;
}

@ObjectType({ simpleResolvers: true, description: "A page of an organization's audit log, newest first." })
export class AuditConnection {
  @Field(() => [AuditEdge])
  readonly edges!: readonly AuditEdge[];

  @Field(() => [AuditEntry])
  readonly nodes!: readonly AuditEntry[];

  @Field(() => PageInfo)
  readonly pageInfo!: PageInfo;

  static of(
    nodes: readonly AuditEntry[],
    { hasNextPage, hasPreviousPage }: { readonly hasNextPage: boolean; readonly hasPreviousPage: boolean },
  ): AuditConnection {
    const edges = nodes.map((node) => ({ cursor: encodeCursor(node.id), node }));
    return {
      edges,
      nodes,
      pageInfo: {
        hasNextPage,
        hasPreviousPage,
        startCursor: edges[0]?.cursor ?? null,
        endCursor: edges.at(-1)?.cursor ?? null,
      },
    };
  }
}

const encodeCursor = (id: string): string => Buffer.from(id).toString('base64url');

/** The entry of a client's cursor; undefined for a text that is none. */
export function decodeCursor(text: string): string | undefined {
  const id = Buffer.from(text.slice(0, 100), 'base64url').toString('latin1');
  return /^[1-9]\d{0,17}$/.test(id) && encodeCursor(id) === text ? id : undefined;
}
