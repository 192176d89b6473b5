import { Field, InputType, Int } from 'type-graphql';
import { z } from 'zod';

import { text, wholeNumber } from '../validation.js';
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

const MOST_MESSAGES = 500;

const LENGTH_RULE = `must have 1 to ${MOST_MESSAGES} messages`;

const messageRules = z
  .object({
    conversationId: text(1, 255),
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

/** The number of messages is checked before any of them is: there may be very many. */
export const messagesRules = z
  .array(z.unknown())
  .min(1, LENGTH_RULE)
  .max(MOST_MESSAGES, LENGTH_RULE)
  .pipe(z.array(messageRules));
