import { Field, ID, Int, ObjectType, registerEnumType } from 'type-graphql';

import { DateTime } from '../graphql/date-time.scalar.js';

export enum MessageDirection {
  INBOUND = 'INBOUND',
  OUTBOUND = 'OUTBOUND',
}

export enum MessageStatus {
  PENDING = 'PENDING',
  DELIVERED = 'DELIVERED',
  FAILED = 'FAILED',
}

registerEnumType(MessageDirection, {
  name: 'MessageDirection',
  description: 'INBOUND: from a contact to the bot; OUTBOUND: from the bot.',
});
registerEnumType(MessageStatus, {
  name: 'MessageStatus',
  description: 'Where the delivery of a message stands.',
});

@ObjectType({ simpleResolvers: true, description: 'One message between a bot and a contact.' })
export class Message {
  @Field(() => ID)
  readonly id!: string;

  @Field(() => ID)
  readonly botId!: string;

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

  @Field(() => Int, { nullable: true, description: 'Null for inbound messages.' })
  readonly responseTimeMs!: number | null;

  @Field(() => DateTime)
  readonly createdAt!: string;
}
