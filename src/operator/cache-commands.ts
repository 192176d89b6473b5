import { parseArgs, type ParseArgsConfig } from 'node:util';

import type { InspectedValue, KindOfKeys } from '../cache/inspection/inspection.js';
import type { Finding } from '../cache/inspection/verification.js';
import { EVERYTHING, type Tag } from '../cache/core/tags.js';
import { ApiError } from '../errors.js';
import { invalidationTargetsRules } from '../invalidation/invalidation-targets.input.js';
import { tagsOfBot, tagsOfOrganization } from '../invalidation/tags.js';
import { parseInput } from '../validation.js';
import { OperatorError } from './accounts.js';
import type { CacheTools } from './cache-tools.js';
import { progressBar } from './progress.js';

export const CACHE_USAGE = `Usage: npm run cache -- COMMAND …   (in the image: node dist/cache-command.js COMMAND …)

  inspect --bot ID | --organization ID | --tag TAG | --key KEY
      shows the generations, the values with their TTLs and sizes, and the last invalidations
  stats
      counts the keys and bytes of each kind
  drop [--bot ID]… [--organization ID]… [--tag TAG]… [--everything]
      invalidates on every server
  warm
      loads what was read most, or else the first pages of the organizations that were active last, if it is not cached
  verify [--sample PERCENT]
      compares what is cached with PostgreSQL; ends with 1 if a value is stale, corrupt or orphaned

Every command takes --json. The settings are those of the servers: DATABASE_URL, REDIS_URL, CACHE_PREFIX, ….`;

/** The lines to print, and whether something is wrong with the cache. */
export interface Outcome {
  readonly lines: readonly string[];
  readonly isBad: boolean;
}

type Options = Readonly<Record<string, string | string[] | boolean | undefined>>;

interface Command {
  readonly options: NonNullable<ParseArgsConfig['options']>;
  readonly run: (tools: CacheTools, options: Options) => Promise<Outcome>;
}

const TEXT = { type: 'string' } as const;
const TEXTS = { type: 'string', multiple: true } as const;
const SWITCH = { type: 'boolean' } as const;
/** The last invalidations that are shown. */
const MAX_INVALIDATIONS = 10;
/** A longer value is cut on the terminal, in characters. */
const MAX_SHOWN = 300;

const COMMANDS: Readonly<Record<string, Command>> = {
  inspect: {
    options: { bot: TEXT, organization: TEXT, tag: TEXT, key: TEXT },
    run: async (tools, options) =>
      typeof options.key === 'string'
        ? await inspectKey(tools, options.key, options)
        : await inspectTags(tools, tagsToInspect(options), options),
  },
  stats: { options: {}, run: showStats },
  drop: {
    options: { bot: TEXTS, organization: TEXTS, tag: TEXTS, everything: SWITCH },
    async run(tools, { bot, organization, tag, everything, json }) {
      const tags = await tools.invalidation.invalidate(
        checked({ bots: bot, organizations: organization, tags: tag, everything }),
      );
      const what = tags.includes(EVERYTHING) ? 'everything' : tags.join(', ');
      return good(json === true ? [JSON.stringify({ tags })] : [`Invalidated ${what} on every server.`]);
    },
  },
  warm: {
    options: {},
    async run(tools, { json }) {
      const progress = progressBar('values');
      const { known, loaded } = await tools.warm({ onStart: progress.start, onBatch: progress.advance });
      progress.stop();
      if (json === true) return good([JSON.stringify({ known, loaded })]);
      return good([
        `Loaded ${loaded} of ${known} values; the others were cached, or another process loads them.`,
      ]);
    },
  },
  verify: { options: { sample: TEXT }, run: verify },
};

/** Finds the command for the arguments. @throws OperatorError naming the mistake in the arguments */
export function parseCacheCommand(args: readonly string[]): (tools: CacheTools) => Promise<Outcome> {
  const [name = '', ...rest] = args;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command)
    throw new OperatorError(name === '' ? CACHE_USAGE : `There is no command ${name}.\n\n${CACHE_USAGE}`);
  try {
    const options = { ...command.options, json: SWITCH };
    const { values } = parseArgs({ args: rest, options, strict: true });
    return async (tools) => await command.run(tools, values);
  } catch (error) {
    throw new OperatorError((error as Error).message, { cause: error });
  }
}

async function inspectKey({ inspection }: CacheTools, key: string, { json }: Options): Promise<Outcome> {
  const value = await inspection.inspectKey(key);
  if (json === true) return good([JSON.stringify(value ?? null)]);
  return good(value ? lineOf(value) : [`Redis has no value under ${key}.`]);
}

async function inspectTags(
  { inspection, log }: CacheTools,
  tags: readonly Tag[],
  { json }: Options,
): Promise<Outcome> {
  const [found, invalidations] = await Promise.all([
    inspection.inspect(tags),
    log.findLatest(tags, MAX_INVALIDATIONS),
  ]);
  if (json === true) return good([JSON.stringify({ ...found, invalidations })]);
  const generations = found.tags.map(({ tag, generation, ttlMs }) => [
    tag,
    generation ?? 'none: nothing of it is cached',
    seconds(ttlMs),
  ]);
  return good([
    ...table(['TAG', 'GENERATION', 'TTL'], generations),
    '',
    ...found.values.flatMap(lineOf),
    found.values.length === 0 ? 'No value is cached.' : '',
    ...table(
      ['LAST INVALIDATIONS', 'TRANSACTION', 'TAGS'],
      invalidations.map(({ at, xid, tags: logged }) => [at, xid, logged.slice(0, 5).join(' ')]),
    ),
  ]);
}

const lineOf = ({ key, resource, bytes, ttlMs, state, value }: InspectedValue): string[] => [
  key,
  `  ${resource}, ${state}, ${bytes} bytes, ${seconds(ttlMs)} left`,
  `  ${cutText(JSON.stringify(value) ?? 'It cannot be read.')}`,
];

function tagsToInspect({ bot, organization, tag }: Options): readonly Tag[] {
  if ([bot, organization, tag].filter((given) => given !== undefined).length !== 1)
    throw new OperatorError('inspect needs one of --bot, --organization, --tag and --key.');
  const {
    bots: [botId] = [],
    organizations: [orgId] = [],
    tags,
  } = checked({
    bots: bot === undefined ? undefined : [bot],
    organizations: organization === undefined ? undefined : [organization],
    tags: tag === undefined ? undefined : [tag],
  });
  if (botId !== undefined) return tagsOfBot(botId);
  return orgId === undefined ? (tags ?? []) : tagsOfOrganization(orgId);
}

async function showStats({ inspection }: CacheTools, { json }: Options): Promise<Outcome> {
  const kinds = new Map<string, KindOfKeys>();
  const progress = progressBar('keys');
  progress.start(await inspection.countKeys());
  for await (const keys of inspection.scan()) {
    await inspection.count(keys, kinds);
    progress.advance(keys.length);
  }
  progress.stop();
  const rows = [...kinds.values()].toSorted((a, b) => b.bytes - a.bytes);
  if (json === true) return good([JSON.stringify(rows)]);
  const total = {
    kind: 'all',
    keys: sumOf(rows, 'keys'),
    bytes: sumOf(rows, 'bytes'),
    withoutTtl: sumOf(rows, 'withoutTtl'),
  };
  return good(
    table(
      ['KIND', 'KEYS', 'BYTES', 'WITHOUT TTL'],
      [...rows, total].map(({ kind, keys, bytes, withoutTtl }) => [
        kind,
        String(keys),
        String(bytes),
        String(withoutTtl),
      ]),
    ),
  );
}

const sumOf = (rows: readonly KindOfKeys[], field: 'keys' | 'bytes' | 'withoutTtl'): number =>
  rows.reduce((sum, row) => sum + row[field], 0);

async function verify(tools: CacheTools, { sample = '100', json }: Options): Promise<Outcome> {
  const percent = Number(sample);
  if (!(percent > 0 && percent <= 100))
    throw new OperatorError('--sample must be a percentage above 0, at most 100.');
  const verification = tools.verification();
  const progress = progressBar('keys');
  progress.start(await tools.inspection.countKeys());
  for await (const keys of tools.inspection.scan()) {
    await verification.check(keys.filter(() => Math.random() * 100 < percent));
    progress.advance(keys.length);
  }
  progress.stop();
  const { findings, ...counts } = verification.verified;
  const isBad = counts.stale + counts.corrupt + counts.orphaned > 0;
  if (json === true) return { lines: [JSON.stringify({ ...counts, findings })], isBad };
  const { compared, stale, corrupt, orphaned, outdated, changed, skipped } = counts;
  return {
    isBad,
    lines: [
      `Compared ${compared} values with PostgreSQL: ${stale} stale, ${corrupt} corrupt, ${orphaned} orphaned.`,
      `Not compared: ${outdated} that are outdated, ${changed} that changed meanwhile, ${skipped} of other releases or unknown ids.`,
      ...findings.map(({ problem, resource, key }: Finding) => `  ${problem}: ${key} (${resource})`),
    ],
  };
}

const good = (lines: readonly string[]): Outcome => ({ lines, isBad: false });

/** Checks what to invalidate by the rules of `POST /admin/cache/invalidate`. @throws OperatorError */
function checked(
  targets: Readonly<Record<string, unknown>>,
): ReturnType<typeof invalidationTargetsRules.parse> {
  const given = Object.fromEntries(Object.entries(targets).filter(([, value]) => value !== undefined));
  try {
    return parseInput(invalidationTargetsRules, given);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    throw new OperatorError(error.message, { cause: error });
  }
}

const seconds = (ms: number | null): string => (ms === null ? '-' : `${(ms / 1_000).toFixed(1)} s`);

const cutText = (text: string): string =>
  text.length <= MAX_SHOWN
    ? text
    : `${text.slice(0, MAX_SHOWN)}… (${text.length} characters; --json shows all)`;

/** Lines with aligned columns. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return [];
  const all = [head, ...rows];
  const widths = head.map((_name, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
