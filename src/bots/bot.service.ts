import type { MomentText } from '../cache/core/moment.js';
import { within } from '../cache/core/work.js';
import type { Writer } from '../auth/authorization.js';
import { Role } from '../auth/role.enum.js';
import type { BotContext } from './bot.context.js';
import { isForeignKeyViolation } from '../db/failures.js';
import { conflict, type ApiError } from '../errors.js';
import type { BotKey, InvalidationService } from '../invalidation/invalidation.service.js';
import { botStatsTag, botTag, orgTag } from '../invalidation/tags.js';
import { markWrite, type WriteMark } from '../mutations/idempotency-key.js';
import type { KeptOutcome } from '../mutations/kept-outcome.js';
import type { Writes } from '../mutations/writes.js';
import { withTimeLimit } from '../time-limit.js';
import { parseId, parseInput } from '../validation.js';
import { createBotRules, updateBotRules, type CreateBotInput, type UpdateBotInput } from './bot.input.js';
import type { BotRepository, ChangedBot, WritableBot } from './bot.repository.js';
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
    private readonly writes: Writes,
    private readonly invalidation: InvalidationService<unknown>,
  ) {}

  /** @throws ApiError BAD_USER_INPUT, NOT_FOUND (organization), FORBIDDEN */
  async create(context: BotContext, input: CreateBotInput): Promise<Bot> {
    const writer = context.authorization.writer(Role.EDITOR);
    const mark = markWrite(context, 'createBot');
    const orgId = parseId('orgId', input.orgId);
    const { name, description } = parseInput(createBotRules, input);
    const values = { ...writer, orgId, name, description: description ?? '' };
    const bot = await this.writes.run(context, {
      mark,
      needed: Role.EDITOR,
      what: 'Organization',
      execute: async () => await this.insert(values, mark),
      findKept: async () => await this.repository.findKept(writer.userId, mark),
      tags: () => [orgTag.of(orgId)],
    });
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
    const mark = markWrite(context, 'updateBot');
    const changes = parseInput(updateBotRules, input);
    const { expectedVersion } = changes;
    const which = editableBot(context, id, Role.EDITOR);
    const isChange = changes.name != null || changes.description != null;
    const changed = await this.writeBot(context, which, mark, async () =>
      isChange ? await this.repository.update(which, changes, this.invalidation.since, mark) : undefined,
    );
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
    context.authorization.requireToken();
    const mark = markWrite(context, status === BotStatus.RUNNING ? 'startBot' : 'stopBot');
    const which = editableBot(context, id, Role.EDITOR);
    for (let attempt = 1; ; attempt++) {
      const changed = await this.writeBot(
        context,
        which,
        mark,
        async () => await this.repository.updateStatus(which, status, this.invalidation.since, mark),
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
    context.authorization.requireToken();
    const mark = markWrite(context, 'deleteBot');
    const which = editableBot(context, id, Role.OWNER);
    const deleted = await this.writes.run(context, {
      mark,
      needed: Role.OWNER,
      what: 'Bot',
      execute: async () => await this.repository.delete(which, mark),
      findKept: async () => await this.repository.findKeptDeletion(which.userId, mark),
      tags: async () => await this.tagsOf(context, which),
    });
    if (!deleted) {
      // If the caller may delete the bot now, they became an owner, or the bot was created, a moment later.
      throw justChanged(await this.refused.ofBot(context, which.id, Role.OWNER));
    }
    await this.changed(context, { id: which.id, orgId: deleted.orgId });
    return which.id;
  }

  private async insert(
    values: Parameters<BotRepository['insert']>[0],
    mark: WriteMark,
  ): Promise<Bot | undefined> {
    try {
      return await this.repository.insert(values, mark);
    } catch (error) {
      if (isForeignKeyViolation(error)) return undefined;
      throw error;
    }
  }

  private async writeBot(
    context: BotContext,
    which: WritableBot,
    mark: WriteMark,
    execute: () => Promise<ChangedBot | undefined>,
  ): Promise<ChangedBot | undefined> {
    return await this.writes.run(context, {
      mark,
      needed: Role.EDITOR,
      what: 'Bot',
      execute,
      findKept: async () => await this.findKept(which, mark),
      tags: async () => await this.tagsOf(context, which),
    });
  }

  private async findKept({ userId }: Writer, mark: WriteMark): Promise<KeptOutcome<ChangedBot> | undefined> {
    const kept = await this.repository.findKept(userId, mark);
    return kept && { ...kept, result: { bot: kept.result, moment: undefined } };
  }

  /** The tags of what a statement may have changed, if its outcome is unknown. */
  private async tagsOf(context: BotContext, { id }: WritableBot): Promise<readonly string[]> {
    // A cached bot is good enough to find its organization. If there is none, the invalidation log covers the write.
    const search = withTimeLimit(context.loaders.bot.load(id), MAX_SEARCH_MS);
    const bot = await search.catch(() => null);
    return [botTag.of(id), botStatsTag.of(id), ...(bot ? [orgTag.of(bot.orgId)] : [])];
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
export function editableBot(context: BotContext, id: string, needed: Role, field = 'id'): WritableBot {
  const writer = context.authorization.writer(needed);
  return { id: parseId(field, id), ...writer };
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
