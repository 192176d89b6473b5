import type { BotRecord } from './history.js';
import { Life } from './life.js';
import type { Instant, Judgement } from './register.js';

/** What the statistics of an organization say. */
export interface OrganizationFigures {
  readonly bots: number;
  readonly total: number;
  readonly failed: number;
}

/** The longest that a write may have been there unseen without counting as never written (ms). */
const MAX_AGE_MS = 600_000;

/**
 * Judges statistics by the sums over an organization's bots. Bots come and go, so that a sum neither only grows nor has one
 * right value: it lies between what the bots that stay have had at least, and what all that may still be there can have.
 *
 * @param bots all bots that the organization has ever had
 * @param to when the read ended
 */
export function judgeSums(
  bots: readonly BotRecord[],
  seen: OrganizationFigures,
  { from, to }: { readonly from: Instant; readonly to: Instant },
): Judgement[] {
  const staying = bots.filter((bot) => bot.lifeWhenAbsent(to) === Life.UNBORN);
  const isThere = (bot: BotRecord, known: Known, at: Instant) => bot.life.leastAt(known, at) < Life.DELETED;
  const sums = (['total', 'failed'] as const).flatMap((quantity) => [
    judgeBound(from, (known, at) => {
      const least = staying.reduce((sum, bot) => sum + bot[quantity].leastAt(known, at), 0);
      return seen[quantity] >= least;
    }),
    judgeBound(from, (known, at) => {
      const most = bots.reduce((sum, bot) => sum + (isThere(bot, known, at) ? bot[quantity].most : 0), 0);
      return seen[quantity] <= most;
    }),
  ]);
  const count = judgeBound(from, (known, at) => {
    const least = staying.filter((bot) => bot.life.leastAt(known, at) >= Life.ALIVE).length;
    return seen.bots >= least;
  });
  return [...sums, count];
}

type Known = 'answered' | 'committed';

/** For how long a bound has not been kept that only tightens as time goes by. */
function judgeBound(from: Instant, isKept: (known: Known, at: Instant) => boolean): Judgement {
  const ageOf = (known: Known): number | undefined => {
    if (isKept(known, from)) return undefined;
    let [kept, broken] = [from - MAX_AGE_MS, from];
    if (!isKept(known, kept)) return Infinity;
    while (broken - kept > 0.5) {
      const middle = (kept + broken) / 2;
      if (isKept(known, middle)) kept = middle;
      else broken = middle;
    }
    return from - broken;
  };
  const [missedAnswered, missedCommitted] = [ageOf('answered'), ageOf('committed')];
  if (missedAnswered !== Infinity && missedCommitted !== Infinity)
    return { missedAnswered, missedCommitted, impossible: false };
  return { missedAnswered: undefined, missedCommitted: undefined, impossible: true };
}
