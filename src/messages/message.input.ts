import { ArgsType, Field, InputType, Int } from 'type-graphql';
import { z } from 'zod';

import { text, wholeNumber } from '../validation.js';
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from './message-connection.type.js';
import { decodeCursor } from './message-cursor.js';
import { MessageDirection, MessageStatus } from './message.type.js';

@InputType()
export class MessageInput {
  @Field(() => String)
  readonly conversationId!: string;

  @Field(() => String)
  readonly contactId!: string;

  @Field(() => MessageDirection)
  readonly direction!: MessageDirection;

  @Field(() => MessageStatus)
  readonly status!: MessageStatus;

  @Field(() => String)
  readonly text!: string;

  @Field(() => Int, { nullable: true })
  readonly responseTimeMs?: number | null | undefined;
}

@ArgsType()
export class MessagesArgs {
  @Field(() => Int, { nullable: true, defaultValue: DEFAULT_PAGE_SIZE })
  readonly first?: number | null;

  @Field(() => String, { nullable: true })
  readonly after?: string | null;

  @Field(() => String, { nullable: true })
  readonly conversationId?: string | null;

  @Field(() => MessageDirection, { nullable: true })
  readonly direction?: MessageDirection | null;

  @Field(() => MessageStatus, { nullable: true })
  readonly status?: MessageStatus | null;
}

const MAX_MESSAGES = 500;

const LENGTH_RULE = `must have 1 to ${MAX_MESSAGES} messages`;

const conversationId = text(1, 255);

const messageRules = z
  .object({
    conversationId,
    contactId: text(1, 255),
    direction: z.enum(MessageDirection),
    status: z.enum(MessageStatus),
    text: text(0, 8_000),
    responseTimeMs: wholeNumber(0).nullish(),
  })
  .refine((message) => message.direction === MessageDirection.OUTBOUND || message.responseTimeMs == null, {
    path: ['responseTimeMs'],
    message: 'must be null for an INBOUND message',
  });

/** The number of messages is checked before the messages themselves: there may be very many. */
export const messagesRules = z
  .array(z.unknown())
  .min(1, LENGTH_RULE)
  .max(MAX_MESSAGES, LENGTH_RULE)
  .pipe(z.array(messageRules));

const cursor = z.string().transform((value, context) => {
  const place = decodeCursor(value);
  if (place) return place;
  context.addIssue({ code: 'custom', message: 'must be a cursor of this list' });
  return z.NEVER;
});

export const messagePageRules = z.object({
  first: wholeNumber(1, MAX_PAGE_SIZE)
    .nullish()
    .transform((first) => first ?? DEFAULT_PAGE_SIZE),
  after: cursor.nullish().transform((place) => place ?? null),
  conversationId: conversationId.nullish().transform((id) => id ?? null),
  direction: z
    .enum(MessageDirection)
    .nullish()
    .transform((direction) => direction ?? null),
  status: z
    .enum(MessageStatus)
    .nullish()
    .transform((status) => status ?? null),
});
