import type { MomentText } from '../cache/core/moment.js';
import { within } from '../cache/core/work.js';
import { Role } from '../auth/role.enum.js';
import type { BotContext } from './bot.context.js';
import { isForeignKeyViolation, isOutcomeUnknown } from '../db/failures.js';
import { conflict, type ApiError } from '../errors.js';
import type { BotKey, InvalidationService } from '../invalidation/invalidation.service.js';
import { botStatsTag, botTag, orgTag } from '../invalidation/tags.js';
import { withTimeLimit } from '../time-limit.js';
import { parseId, parseInput } from '../validation.js';
import { createBotRules, updateBotRules, type CreateBotInput, type UpdateBotInput } from './bot.input.js';
import type { BotRepository, WritableBot } from './bot.repository.js';
import { BotStatus, type Bot } from './bot.type.js';
import type { RefusedWrites } from './refused-writes.js';

/** The time limit for finding the organization of a bot after a failed write (ms). */
const MAX_SEARCH_MS = 1_000;
/** How often a status change is tried again while other callers set the opposite status. */
const MAX_STATUS_ATTEMPTS = 5;

/**
 * The reason that forbade a change has disappeared since. The change was not made, so the caller must not get
 * success.
 */
export const justChanged = ({ version: currentVersion }: Bot): ApiError =>
  conflict('The bot has just been changed by somebody else', { currentVersion });

/** Changes bots. Every change invalidates after its transaction has committed and before the caller gets the result. */
export class BotService {
  constructor(
    private readonly repository: BotRepository,
    private readonly refused: RefusedWrites,
    private readonly invalidation: InvalidationService<unknown>,
  ) {}

  /** @throws ApiError BAD_USER_INPUT, NOT_FOUND (organization), FORBIDDEN */
  async create(context: BotContext, input: CreateBotInput): Promise<Bot> {
    const writer = context.authorization.writer(Role.EDITOR);
    const orgId = parseId('orgId', input.orgId);
    const { name, description } = parseInput(createBotRules, input);
    const bot = await this.write(
      context,
      () => [orgTag.of(orgId)],
      async () => await this.insert({ ...writer, orgId, name, description: description ?? '' }),
    );
    if (bot) {
      await this.changed(context, bot);
      return bot;
    }
    await this.refused.ofOrganization(context, orgId, Role.EDITOR);
    throw conflict('Your membership has just been changed by somebody else', {});
  }

  /** @throws ApiError BAD_USER_INPUT, NOT_FOUND, FORBIDDEN, or CONFLICT if the bot is not of the expected version */
  async update(context: BotContext, id: string, input: UpdateBotInput): Promise<Bot> {
    context.authorization.requireToken();
    const changes = parseInput(updateBotRules, input);
    const { expectedVersion } = changes;
    const which = editableBot(context, id, Role.EDITOR);
    const isChange = changes.name != null || changes.description != null;
    const changed = isChange
      ? await this.writeBot(
          context,
          which,
          async () => await this.repository.update(which, changes, this.invalidation.since),
        )
      : undefined;
    if (changed) {
      await this.changed(context, changed.bot, changed.moment);
      return changed.bot;
    }
    const current = await this.refused.ofBot(context, which.id, Role.EDITOR);
    const { version: currentVersion } = current;
    if (expectedVersion != null && currentVersion !== expectedVersion) {
      throw conflict(`The bot is at version ${currentVersion}, not ${expectedVersion}`, { currentVersion });
    }
    if (isChange) throw justChanged(current);
    return current;
  }

  /** Starts or stops a bot. A bot that already has the status is returned unchanged. */
  async setStatus(context: BotContext, id: string, status: BotStatus): Promise<Bot> {
    const which = editableBot(context, id, Role.EDITOR);
    for (let attempt = 1; ; attempt++) {
      const changed = await this.writeBot(
        context,
        which,
        async () => await this.repository.updateStatus(which, status, this.invalidation.since),
      );
      if (changed) {
        await this.changed(context, changed.bot, changed.moment);
        return changed.bot;
      }
      const current = await this.refused.ofBot(context, which.id, Role.EDITOR);
      if (current.status === status) return current;
      // The bot had the status when the statement ran, and somebody changed it before it was read.
      if (attempt === MAX_STATUS_ATTEMPTS) throw justChanged(current);
    }
  }

  /** Deletes a bot with everything that belongs to it. Returns its id. */
  async delete(context: BotContext, id: string): Promise<string> {
    const which = editableBot(context, id, Role.OWNER);
    const deleted = await this.writeBot(context, which, async () => await this.repository.delete(which));
    if (!deleted) {
      // If the caller may delete the bot now, they became an owner, or the bot was created, a moment later.
      throw justChanged(await this.refused.ofBot(context, which.id, Role.OWNER));
    }
    await this.changed(context, { id: which.id, orgId: deleted.orgId });
    return which.id;
  }

  private async insert(values: Parameters<BotRepository['insert']>[0]): Promise<Bot | undefined> {
    try {
      return await this.repository.insert(values);
    } catch (error) {
      if (isForeignKeyViolation(error)) return undefined;
      throw error;
    }
  }

  private async writeBot<Result>(
    context: BotContext,
    { id }: WritableBot,
    write: () => Promise<Result>,
  ): Promise<Result> {
    const tags = async () => {
      // A cached bot is good enough to find its organization. If there is none, the invalidation log covers the
      // write.
      const search = withTimeLimit(context.loaders.bot.load(id), MAX_SEARCH_MS);
      const bot = await search.catch(() => null);
      return [botTag.of(id), botStatsTag.of(id), ...(bot ? [orgTag.of(bot.orgId)] : [])];
    };
    return await this.write(context, tags, write);
  }

  /**
   * Runs a write. If its outcome is unknown, invalidates everything it may have changed before the caller gets the
   * error.
   */
  private async write<Result>(
    context: BotContext,
    tags: () => readonly string[] | Promise<readonly string[]>,
    write: () => Promise<Result>,
  ): Promise<Result> {
    try {
      return await within(context.work, write);
    } catch (error) {
      if (isOutcomeUnknown(error)) await this.invalidation.mayHaveChanged(await tags());
      throw error;
    }
  }

  private async changed(context: BotContext, bot: BotKey, moment?: MomentText): Promise<void> {
    await within(context.work, () => this.invalidation.botChanged(bot, moment));
    context.clearLoaders();
  }
}

/**
 * A bot and the caller who wants to change it, for a statement that itself checks whether they may. So nothing need
 * be read first, and the memberships at the time of the change count. If the statement changes nothing, {@link
 * RefusedWrites} finds the reason.
 * @throws ApiError UNAUTHENTICATED, BAD_USER_INPUT
 */
export function editableBot(context: BotContext, id: string, needed: Role): WritableBot {
  const writer = context.authorization.writer(needed);
  return { id: parseId('id', id), ...writer };
}

/**
 * Returns a bot if the caller's role in its organization allows what is needed.
 * @throws ApiError UNAUTHENTICATED, BAD_USER_INPUT, NOT_FOUND, FORBIDDEN
 */
export async function requireBot(context: BotContext, id: string, needed: Role): Promise<Bot> {
  context.authorization.requireToken();
  const botId = parseId('id', id);
  const [bot] = await Promise.all([context.loaders.bot.load(botId), context.authorization.principal()]);
  await context.authorization.require(needed, bot?.orgId, 'Bot');
  return bot as Bot;
}
