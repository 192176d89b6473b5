import { UUID_PATTERN } from '../uuid.js';

/** The position of a message in the order of its bot's messages. */
export interface MessageCursor {
  /** The time of creation: microseconds since 2000, as PostgreSQL counts them, or `infinity`, `-infinity`. */
  readonly at: string;
  /** Orders messages of the same microsecond. */
  readonly id: string;
}

/** The first and the last instant that PostgreSQL can store, in microseconds since 2000. */
const MIN_INSTANT = -211_813_488_000_000_000n;
const MAX_INSTANT = 9_223_371_331_199_999_999n;

const PLACE = new RegExp(`^(?<at>-?infinity|0|-?[1-9]\\d{0,18})\\.(?<id>${UUID_PATTERN})$`);
/** Longer than any cursor. */
const MAX_LENGTH = 100;

/** Encodes a cursor for clients: opaque, and safe in URLs. */
export const encodeCursor = ({ at, id }: MessageCursor): string =>
  Buffer.from(`${at}.${id}`).toString('base64url');

/** The position of a client's cursor; undefined for a text that {@link encodeCursor} never returns. */
export function decodeCursor(text: string): MessageCursor | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const { at, id } = PLACE.exec(Buffer.from(text, 'base64url').toString('latin1'))?.groups ?? {};
  if (at === undefined || id === undefined) return undefined;
  if (!at.endsWith('infinity') && (BigInt(at) < MIN_INSTANT || BigInt(at) > MAX_INSTANT)) return undefined;
  const cursor = { at, id };
  // Another spelling of the same bytes would be another cache key.
  return encodeCursor(cursor) === text ? cursor : undefined;
}
