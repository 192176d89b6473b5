import type { GenerationText } from './generation.js';
import type { SnapshotText } from './snapshot.js';

/**
 * The stored form of a value in Redis: JSON with a fixed order of fields, so that a reader can check the head without
 * parsing the data, and `redis-cli GET` shows readable text.
 *
 *     {"gen":"kP0v…","snapshot":"795:797:795","expires":1767225600000,"version":7,"shape":"1f0c2a9b","data":{…}}
 *
 * `gen` holds the generations of the value's tags, as they were before the database was read;
 * `snapshot` is the PostgreSQL snapshot of the load; `expires` is the end of the TTL (ms since 1970); `version` grows
 * with every change of the value, 0 if unknown; `shape` is the digest of the value's fields.
 */
export interface Envelope<Value> {
  readonly generation: GenerationText;
  readonly snapshot: SnapshotText;
  readonly expiresAt: number;
  readonly version: number;
  readonly shape: string;
  /** null: the database has no such row. */
  readonly value: Value | null;
}

const HEAD = '{"gen":"';
/** The position of the generation in an envelope, counted from 0. */
export const GENERATION_START = HEAD.length;
const MIDDLE = '","snapshot":"';
const EXPIRES = '","expires":';
const VERSION = ',"version":';
const SHAPE = ',"shape":"';
const DATA = ',"data":';

export function encodeEnvelope<Value>(envelope: Envelope<Value>): string {
  const { generation, snapshot, expiresAt, version, shape, value } = envelope;
  return `${HEAD}${generation}${MIDDLE}${snapshot}${EXPIRES}${expiresAt}${VERSION}${version}${SHAPE}${shape}"${DATA}${JSON.stringify(value)}}`;
}

/** The head of a stored envelope, and the position of its data. */
export interface OpenedEnvelope {
  readonly generation: GenerationText;
  readonly snapshot: SnapshotText;
  readonly expiresAt: number;
  /** Empty if an older release without shapes wrote the envelope. */
  readonly shape: string;
  readonly dataStart: number;
}

/** Opens a stored envelope. Returns undefined for bytes that are not an envelope. */
export function openEnvelope(raw: string): OpenedEnvelope | undefined {
  if (!raw.startsWith(HEAD)) return undefined;
  const middle = raw.indexOf('"', HEAD.length);
  if (middle < 0 || !raw.startsWith(MIDDLE, middle)) return undefined;
  const snapshotStart = middle + MIDDLE.length;
  const snapshotEnd = raw.indexOf('"', snapshotStart);
  if (snapshotEnd < 0 || !raw.startsWith(EXPIRES, snapshotEnd)) return undefined;
  const expiresStart = snapshotEnd + EXPIRES.length;
  const expiresEnd = raw.indexOf(',', expiresStart);
  if (expiresEnd < 0 || !raw.startsWith(VERSION, expiresEnd)) return undefined;
  const versionEnd = raw.indexOf(',', expiresEnd + VERSION.length);
  if (versionEnd < 0) return undefined;
  const shapeStart = versionEnd + SHAPE.length;
  const shapeEnd = raw.startsWith(SHAPE, versionEnd) ? raw.indexOf('"', shapeStart) : -1;
  const dataStart = shapeEnd < 0 ? versionEnd : shapeEnd + 1;
  const expiresAt = Number(raw.slice(expiresStart, expiresEnd));
  if (!raw.startsWith(DATA, dataStart) || !Number.isFinite(expiresAt)) return undefined;
  return {
    generation: raw.slice(HEAD.length, middle),
    snapshot: raw.slice(snapshotStart, snapshotEnd),
    expiresAt,
    shape: shapeEnd < 0 ? '' : raw.slice(shapeStart, shapeEnd),
    dataStart: dataStart + DATA.length,
  };
}

/** The snapshot in the head of a stored envelope; undefined if the head is too short, or not that of an envelope. */
export function snapshotOfHead(head: string): SnapshotText | undefined {
  const start = head.indexOf(MIDDLE);
  const end = start < 0 ? -1 : head.indexOf('"', start + MIDDLE.length);
  return end < 0 ? undefined : head.slice(start + MIDDLE.length, end);
}

/** The data of an opened envelope; undefined if its bytes are damaged. */
export function readEnvelopeData<Value>(raw: string, dataStart: number): Value | null | undefined {
  try {
    return JSON.parse(raw.slice(dataStart, -1)) as Value | null;
  } catch {
    return undefined;
  }
}
