import { Role } from '../access/role.enum.js';
import type { RequestContext } from '../context.js';
import { isForeignKeyViolation } from '../db/failures.js';
import { conflict, notFound } from '../errors.js';
import type { InvalidationService } from '../invalidation/invalidation.service.js';
import { parseId, parseInput } from '../validation.js';
import { createBotRules, updateBotRules, type CreateBotInput, type UpdateBotInput } from './bot.input.js';
import type { BotRepository, WritableBot } from './bot.repository.js';
import { BotStatus, type Bot } from './bot.type.js';

/** Which bot, and where it is: what a change of it outdates. */
interface BotKey {
  readonly id: string;
  readonly orgId: string;
}

/** The changes of bots. Each invalidates after its transaction has committed and before it answers. */
export class BotService {
  constructor(
    private readonly repository: BotRepository,
    private readonly invalidation: InvalidationService<unknown>,
  ) {}

  /** @throws ApiError BAD_USER_INPUT, NOT_FOUND (organization), FORBIDDEN */
  async create(context: RequestContext, input: CreateBotInput): Promise<Bot> {
    context.access.requireToken();
    const orgId = parseId('orgId', input.orgId);
    const { name, description } = parseInput(createBotRules, input);
    await context.access.require(Role.EDITOR, orgId, 'Organization');
    const bot = await this.insert({ orgId, name, description: description ?? '' });
    await this.changed(context, bot);
    return bot;
  }

  /** @throws ApiError BAD_USER_INPUT, NOT_FOUND, FORBIDDEN, or CONFLICT if the bot is not of the expected version */
  async update(context: RequestContext, id: string, input: UpdateBotInput): Promise<Bot> {
    context.access.requireToken();
    const changes = parseInput(updateBotRules, input);
    const { expectedVersion } = changes;
    const which = writable(context, id, Role.EDITOR);
    const isChange = changes.name != null || changes.description != null;
    const changed = isChange ? await this.repository.update(which, changes) : undefined;
    if (changed) {
      await this.changed(context, changed);
      return changed;
    }
    const current = await this.current(context, which, Role.EDITOR);
    const { version: currentVersion } = current;
    if (expectedVersion != null && currentVersion !== expectedVersion) {
      throw conflict(`The bot is at version ${currentVersion}, not ${expectedVersion}`, { currentVersion });
    }
    // What forbade the change was gone a moment later: to answer with the bot would be to say that it was made.
    if (isChange) throw conflict('The bot has just been changed by somebody else', { currentVersion });
    return current;
  }

  /** Starts or stops a bot; one that has the status already is returned as it is. */
  async setStatus(context: RequestContext, id: string, status: BotStatus): Promise<Bot> {
    const which = writable(context, id, Role.EDITOR);
    const changed = await this.repository.updateStatus(which, status);
    if (!changed) return await this.current(context, which, Role.EDITOR);
    await this.changed(context, changed);
    return changed;
  }

  /** Deletes a bot with all that belongs to it. Returns its id. */
  async delete(context: RequestContext, id: string): Promise<string> {
    const which = writable(context, id, Role.OWNER);
    const deleted = await this.repository.delete(which);
    const { orgId } = deleted ?? (await requireBot(context, id, Role.OWNER));
    await this.changed(context, { id: which.id, orgId });
    if (!deleted) throw notFound('Bot');
    return which.id;
  }

  private async insert(values: { orgId: string; name: string; description: string }): Promise<Bot> {
    try {
      return await this.repository.insert(values);
    } catch (error) {
      if (isForeignKeyViolation(error)) throw notFound('Organization');
      throw error;
    }
  }

  /**
   * The bot as the database has it, if the writer may change it by the database's own account: what is cached may not
   * tell yet that they no longer may. Who made the bot so may not have invalidated yet; since this answer tells of it,
   * nobody may read anything older from now on.
   * @throws ApiError NOT_FOUND, FORBIDDEN
   */
  private async current(context: RequestContext, which: WritableBot, needed: Role): Promise<Bot> {
    const known = await requireBot(context, which.id, needed);
    const bot = await this.repository.findCurrent(which);
    await this.changed(context, known);
    if (!bot) throw notFound('Bot');
    return bot;
  }

  private async changed(context: RequestContext, bot: BotKey): Promise<void> {
    await this.invalidation.botChanged(bot);
    context.forgetLoaded();
  }
}

/**
 * A bot and who wants to change it, for a statement that changes it only if they may: so nothing need be looked up first,
 * and the memberships that count are those at the time of the change. What it leaves undone, {@link requireBot} says why.
 * @throws ApiError UNAUTHENTICATED, BAD_USER_INPUT
 */
export function writable(context: RequestContext, id: string, needed: Role): WritableBot {
  const writer = context.access.writer(needed);
  return { id: parseId('id', id), ...writer };
}

/**
 * Lets a caller through who may do this to a bot of theirs.
 * @throws ApiError UNAUTHENTICATED, BAD_USER_INPUT, NOT_FOUND, FORBIDDEN
 */
export async function requireBot(context: RequestContext, id: string, needed: Role): Promise<Bot> {
  context.access.requireToken();
  const botId = parseId('id', id);
  const [bot] = await Promise.all([context.loaders.bot.load(botId), context.access.principal()]);
  await context.access.require(needed, bot?.orgId, 'Bot');
  return bot as Bot;
}
