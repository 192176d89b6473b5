import { ArgsType, Field, ID, InputType, Int } from 'type-graphql';
import { z } from 'zod';

import { hasMoreCharacters, text, wholeNumber } from '../validation.js';
import { MAX_PAGE_LENGTH } from './bot-page.type.js';

@InputType()
export class CreateBotInput {
  @Field(() => ID)
  readonly orgId!: string;

  @Field(() => String)
  readonly name!: string;

  @Field(() => String, { nullable: true })
  readonly description?: string | null;
}

@InputType()
export class UpdateBotInput {
  @Field(() => String, { nullable: true })
  readonly name?: string | null;

  @Field(() => String, { nullable: true })
  readonly description?: string | null;

  @Field(() => Int, { nullable: true, description: 'If given, the update is made only to this version.' })
  readonly expectedVersion?: number | null;
}

@ArgsType()
export class BotsArgs {
  @Field(() => ID)
  readonly orgId!: string;

  @Field(() => Int, { nullable: true, defaultValue: 1 })
  readonly page?: number | null;

  @Field(() => Int, { nullable: true, defaultValue: 20 })
  readonly limit?: number | null;

  @Field(() => String, { nullable: true, defaultValue: '' })
  readonly search?: string | null;
}

const name = text(1, 120);
const description = text(0, 2_000);

export const createBotRules = z.object({ name, description: description.nullish() });

export const updateBotRules = z.object({
  name: name.nullish(),
  description: description.nullish(),
  expectedVersion: wholeNumber(1).nullish(),
});

const MAX_SEARCH_CHARACTERS = 200;

/** Any text is a valid search; text that PostgreSQL cannot store matches nothing. */
const search = z
  .string()
  .transform((value) => value.trim())
  .refine(
    (value) => !hasMoreCharacters(value, MAX_SEARCH_CHARACTERS),
    `must have at most ${MAX_SEARCH_CHARACTERS} characters`,
  );

export const botsRules = z.object({
  page: wholeNumber(1)
    .nullish()
    .transform((page) => page ?? 1),
  limit: wholeNumber(1, MAX_PAGE_LENGTH)
    .nullish()
    .transform((limit) => limit ?? 20),
  search: search.nullish().transform((text) => text ?? ''),
});
