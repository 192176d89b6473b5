/** PostgreSQL's text form of an instant of this era, if the session's time zone is UTC. */
const USUAL = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00$/;
/** PostgreSQL's text form of any instant in the style ISO: of any year, in any time zone. */
const ISO =
  /^(?<year>\d{4,6})-(?<month>\d\d)-(?<day>\d\d) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d)(?:\.(?<fraction>\d{1,6}))?(?<zone>[+-]\d\d)(?::(?<zoneMinutes>\d\d))?(?::(?<zoneSeconds>\d\d))?(?<bc> BC)?$/;

/** The range of a JavaScript `Date`, and so of most clients (ms before and after 1970). */
const MAX_INSTANT_MS = 8.64e15;

/**
 * Turns PostgreSQL's text form of an instant into ISO 8601 with milliseconds: `2026-01-31 09:30:00.123456+00` becomes
 * `2026-01-31T09:30:00.123Z`. An instant that no `Date` can hold (`infinity`, the year 290000) becomes the nearest
 * one that can be held, so that one odd row does not fail a whole answer.
 * @throws Error for any other style, in which day and month cannot be told apart
 */
export function toIsoInstant(written: string): string {
  if (!USUAL.test(written)) return new Date(millisecondsOf(written)).toISOString();
  const milliseconds = written.slice(20, -3).padEnd(3, '0').slice(0, 3);
  return `${written.slice(0, 10)}T${written.slice(11, 19)}.${milliseconds}Z`;
}

function millisecondsOf(written: string): number {
  if (written === 'infinity') return MAX_INSTANT_MS;
  if (written === '-infinity') return -MAX_INSTANT_MS;
  const parts = ISO.exec(written)?.groups;
  if (!parts) throw new Error(`Not an instant in the style ISO: ${written}`);
  const { year, month, day, hour, minute, second, fraction, zone, zoneMinutes, zoneSeconds, bc } = parts;
  // The year before 1 is 1 BC.
  const astronomicalYear = bc === undefined ? Number(year) : 1 - Number(year);
  const date = new Date(0);
  date.setUTCFullYear(astronomicalYear, Number(month) - 1, Number(day));
  date.setUTCHours(
    Number(hour),
    Number(minute),
    Number(second),
    Number((fraction ?? '').padEnd(3, '0').slice(0, 3)),
  );
  const east = Math.abs(Number(zone)) * 3_600 + Number(zoneMinutes ?? 0) * 60 + Number(zoneSeconds ?? 0);
  const ms = date.getTime() - (zone?.startsWith('-') ? -east : east) * 1_000;
  if (Number.isNaN(ms)) return bc === undefined ? MAX_INSTANT_MS : -MAX_INSTANT_MS;
  return Math.max(-MAX_INSTANT_MS, Math.min(ms, MAX_INSTANT_MS));
}
