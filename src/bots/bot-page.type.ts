import { Field, Int, ObjectType } from 'type-graphql';

import { Bot } from './bot.type.js';

/** The maximum number of bots on a page. */
export const MAX_PAGE_LENGTH = 100;

/** The cached part of a list page; the rest follows from the arguments. */
export interface BotPageContent {
  readonly items: readonly Bot[];
  readonly total: number;
}

@ObjectType({ simpleResolvers: true, description: "A page of an organization's bots, newest first." })
export class BotPage {
  @Field(() => [Bot])
  readonly items!: readonly Bot[];

  @Field(() => Int)
  readonly total!: number;

  @Field(() => Int)
  readonly page!: number;

  @Field(() => Int)
  readonly limit!: number;

  @Field(() => Int)
  readonly totalPages!: number;

  @Field(() => Boolean)
  readonly hasNextPage!: boolean;

  static of(content: BotPageContent, page: number, limit: number): BotPage {
    const totalPages = Math.ceil(content.total / limit);
    return { ...content, page, limit, totalPages, hasNextPage: page < totalPages };
  }
}
