import type { BotRecord } from './history.js';
import { Life } from './life.js';
import { FAULTLESS, type Instant, type Known, type Verdict } from './register.js';

/** Statistics of an organization, as a read returned them. */
export interface OrganizationFigures {
  readonly bots: number;
  readonly total: number;
  readonly failed: number;
}

/** A bound broken for longer than this counts as impossible (ms). */
const MAX_AGE_MS = 600_000;

/**
 * Checks an organization's statistics against the sums over its bots. Bots are created and deleted meanwhile, so a sum has
 * bounds instead of one right value: at least the sum over the bots that nobody deletes, at most the sum over all bots that
 * may still exist.
 *
 * @param bots all bots that the organization has ever had
 * @param to when the read ended
 */
export function checkSums(
  bots: readonly BotRecord[],
  seen: OrganizationFigures,
  { from, to }: { readonly from: Instant; readonly to: Instant },
): Verdict[] {
  const staying = bots.filter((bot) => bot.lifeWhenAbsent(to) === Life.UNBORN);
  const isThere = (bot: BotRecord, known: Known, at: Instant) => bot.life.minAt(known, at) < Life.DELETED;
  const sums = (['total', 'failed'] as const).flatMap((quantity) => [
    checkBound(from, (known, at) => {
      const min = staying.reduce((sum, bot) => sum + bot[quantity].minAt(known, at), 0);
      return seen[quantity] >= min;
    }),
    checkBound(from, (known, at) => {
      const max = bots.reduce((sum, bot) => sum + (isThere(bot, known, at) ? bot[quantity].max : 0), 0);
      return seen[quantity] <= max;
    }),
  ]);
  const count = checkBound(from, (known, at) => {
    const min = staying.filter((bot) => bot.life.minAt(known, at) >= Life.ALIVE).length;
    return seen.bots >= min;
  });
  return [...sums, count];
}

/** Finds by bisection for how long a bound has been broken; a bound only tightens as time passes. */
function checkBound(from: Instant, holds: (known: Known, at: Instant) => boolean): Verdict {
  const ageOf = (known: Known): number | undefined => {
    if (holds(known, from)) return undefined;
    let [held, broken] = [from - MAX_AGE_MS, from];
    if (!holds(known, held)) return Infinity;
    while (broken - held > 0.5) {
      const middle = (held + broken) / 2;
      if (holds(known, middle)) held = middle;
      else broken = middle;
    }
    return from - broken;
  };
  const [missedAnswered, missedCommitted] = [ageOf('answered'), ageOf('committed')];
  if (missedAnswered === Infinity || missedCommitted === Infinity) return { ...FAULTLESS, impossible: true };
  return { missedAnswered, missedCommitted, missedShown: ageOf('shown'), impossible: false };
}
