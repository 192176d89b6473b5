import { LRUCache } from 'lru-cache';

import type { LoadedValue } from './loaded-value.js';
import { openEnvelope, readEnvelopeData } from '../core/envelope.js';
import { hasSeenEach, isOfGenerations, type GenerationText } from '../core/generation.js';
import type { Stored } from '../redis/cache-store.js';
import { digestOfShape, isOfShape, type Shape } from '../core/shape.js';

/** A stored value, opened and parsed. */
export interface ParsedEnvelope<Value> extends LoadedValue<Value> {
  readonly raw: string;
  readonly generation: GenerationText;
  /** The transactions that changed everything, all of which the value has seen. */
  readonly everything: string;
}

/** The maximum number of characters of stored bytes to remember, for each resource. */
const MAX_CHARACTERS = 8 * 1024 * 1024;

/**
 * Remembers the parsed form of stored bytes. The bytes are read from Redis every time and must be identical, so this
 * saves only the parsing: it never decides whether a value is current.
 */
export class EnvelopeParseCache<Value> {
  private readonly memo: LRUCache<string, ParsedEnvelope<Value>>;

  private readonly shapeDigest: string;

  /**
   * @param refreshAtOf see {@link LoadedValue.refreshAt}, by the end of the TTL
   * @param onOtherShape called when a current value of another release is found
   */
  constructor(
    maxEntries: number,
    private readonly shape: Shape,
    private readonly refreshAtOf: (expiresAt: number) => number,
    private readonly onOtherShape: () => void,
  ) {
    this.shapeDigest = digestOfShape(shape);
    this.memo = new LRUCache({
      max: maxEntries,
      maxSize: MAX_CHARACTERS,
      sizeCalculation: ({ raw }) => raw.length,
    });
  }

  /** A value that was stored under the key at some time. */
  lastSeen(key: string): Value | undefined {
    return this.memo.peek(key)?.value ?? undefined;
  }

  /** The stored value, if it is an envelope of the current generations and the value has the expected shape. */
  parse(key: string, { raw, generation, everything }: Stored): ParsedEnvelope<Value> | undefined {
    if (raw === null || generation === undefined) return undefined;
    const known = this.memo.get(key);
    if (known && known.raw === raw && known.generation === generation && known.everything === everything)
      return known;
    const head = openEnvelope(raw);
    if (!head || !isOfGenerations(head.generation, generation, head.snapshot)) return undefined;
    if (!hasSeenEach(everything, head.snapshot)) return undefined;
    if (head.shape !== this.shapeDigest) {
      this.onOtherShape();
      return undefined;
    }
    const value = readEnvelopeData<Value>(raw, head.dataStart);
    if (value === undefined || (value !== null && !isOfShape(value, this.shape))) return undefined;
    const { snapshot, expiresAt } = head;
    const refreshAt = value === null ? Infinity : this.refreshAtOf(expiresAt);
    const parsed = {
      raw,
      generation,
      everything,
      snapshot,
      expiresAt,
      refreshAt,
      version: 0,
      uses: 0,
      value,
    };
    this.memo.set(key, parsed);
    return parsed;
  }
}
