import { requireRole } from '../auth/authorization.js';
import type { PrincipalRepository } from '../auth/principal.repository.js';
import type { Role } from '../auth/role.enum.js';
import { within } from '../cache/core/work.js';
import type { BotContext } from './bot.context.js';
import type { InvalidationService } from '../invalidation/invalidation.service.js';
import type { BotRepository } from './bot.repository.js';
import type { Bot } from './bot.type.js';

/**
 * Finds out why the statement of a write changed nothing. It reads PostgreSQL, because the statement decided by the
 * state there, and the cache may be older.
 */
export class RefusedWrites {
  constructor(
    private readonly bots: Pick<BotRepository, 'findMany'>,
    private readonly principals: Pick<PrincipalRepository, 'findMany'>,
    private readonly invalidation: Pick<InvalidationService<unknown>, 'reveal'>,
  ) {}

  /** Returns the bot if the caller may change it. @throws ApiError UNAUTHENTICATED, NOT_FOUND, FORBIDDEN */
  async ofBot(context: BotContext, id: string, needed: Role): Promise<Bot> {
    const [[found], caller] = await Promise.all([
      within(context.work, () => this.bots.findMany([id])),
      this.callerOf(context),
    ]);
    const bot = found?.value ?? undefined;
    await this.reveal(context);
    requireRole(caller, needed, bot?.orgId, 'Bot');
    return bot as Bot;
  }

  /** @throws ApiError UNAUTHENTICATED, NOT_FOUND, FORBIDDEN, if that is the reason */
  async ofOrganization(context: BotContext, orgId: string, needed: Role): Promise<void> {
    const caller = await this.callerOf(context);
    await this.reveal(context);
    requireRole(caller, needed, orgId, 'Organization');
  }

  /**
   * @param bot the bot of the message; undefined if there is no such message
   * @throws ApiError UNAUTHENTICATED, NOT_FOUND, FORBIDDEN, if that is the reason
   */
  async ofMessage(
    context: BotContext,
    bot: Promise<{ readonly id: string; readonly orgId: string } | undefined>,
    needed: Role,
  ): Promise<void> {
    const [found, caller] = await Promise.all([bot, this.callerOf(context)]);
    await this.reveal(context);
    requireRole(caller, needed, found?.orgId, 'Message');
  }

  private async callerOf(context: BotContext) {
    const userId = context.authorization.requireToken();
    const [caller] = await within(context.work, () => this.principals.findMany([userId]));
    return caller?.value;
  }

  private async reveal(context: BotContext): Promise<void> {
    await this.invalidation.reveal();
    context.clearLoaders();
  }
}
