/** How PostgreSQL writes an instant of this era in a session whose time zone is UTC. */
const WRITTEN = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00$/;

/**
 * An instant as PostgreSQL writes it, in ISO 8601 with milliseconds: `2026-01-31 09:30:00.123456+00` is
 * `2026-01-31T09:30:00.123Z`.
 */
export function toIsoInstant(written: string): string {
  if (!WRITTEN.test(written)) return new Date(written).toISOString();
  const milliseconds = written.slice(20, -3).padEnd(3, '0').slice(0, 3);
  return `${written.slice(0, 10)}T${written.slice(11, 19)}.${milliseconds}Z`;
}
