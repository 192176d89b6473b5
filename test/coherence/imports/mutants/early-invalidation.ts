import 'reflect-metadata';

import type * as BotServiceModule from '../../../../src/bots/bot.service.js';
import type { RequestContext } from '../../../../src/context.js';
import { serverModule } from '../server-module.js';

/** Invalidates before the transaction commits instead of after it. */
const { BotService } = await serverModule<typeof BotServiceModule>('bots/bot.service');

interface Insides {
  readonly invalidation: { botChanged(bot: { id: string; orgId: string }): Promise<unknown> };
  changed(context: RequestContext): Promise<void>;
}

const { update } = BotService.prototype;
const insides = BotService.prototype as unknown as Insides;

insides.changed = async (context) => {
  context.clearLoaders();
  await Promise.resolve();
};
BotService.prototype.update = async function (context, id, input) {
  const bot = await context.loaders.bot.load(id);
  if (bot) await (this as unknown as Insides).invalidation.botChanged(bot);
  return await update.call(this, context, id, input);
};
