import { bots } from '../db/tables.js';
import { BotStatus, type Bot } from './bot.type.js';

export type BotRow = typeof bots.$inferSelect;

export const botColumns = {
  id: bots.id,
  orgId: bots.orgId,
  name: bots.name,
  description: bots.description,
  status: bots.status,
  version: bots.version,
  createdAt: bots.createdAt,
  updatedAt: bots.updatedAt,
  startedAt: bots.startedAt,
};

/** Turns a row into the bot that clients see. */
export const toBot = (row: BotRow): Bot => ({
  id: row.id,
  orgId: row.orgId,
  name: row.name,
  description: row.description,
  status: BotStatus[row.status],
  version: row.version,
  createdAt: row.createdAt,
  updatedAt: row.updatedAt,
  startedAt: row.startedAt,
});
