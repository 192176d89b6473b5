import {
  createLocalJWKSet,
  errors,
  type CryptoKey,
  type FlattenedJWSInput,
  type JSONWebKeySet,
  type JWSHeaderParameters,
} from 'jose';

import { unavailable } from '../errors.js';

/** How old keys may be before they are fetched again (ms): a key that was withdrawn is trusted no longer than this. */
const MAX_AGE_MS = 25_000;
/** For how long keys are used although they cannot be fetched again (ms). */
const MAX_AGE_IN_OUTAGE_MS = 10 * 60_000;
/** The minimum time between two fetches for tokens whose key is not known (ms): anybody can make such tokens. */
const UNKNOWN_KEY_PAUSE_MS = 5_000;
/** How long nothing is fetched after a failure: doubled after each, up to a maximum (ms). */
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
const FETCH_TIMEOUT_MS = 2_000;
/** Far more than any provider's keys, in characters. */
const MAX_CHARACTERS = 256 * 1024;

type LocalKeys = (header?: JWSHeaderParameters, token?: FlattenedJWSInput) => Promise<CryptoKey>;

/**
 * The keys of an identity provider, from its JWKS endpoint. Requests share one fetch, however many arrive. While the endpoint
 * fails, known keys are used for {@link MAX_AGE_IN_OUTAGE_MS}, and it is asked seldom, so that nobody waits for it.
 */
export class KeySet {
  private keys: LocalKeys | undefined;
  private fetchedAt = -Infinity;
  private fetching: Promise<void> | undefined;
  private nextTryAt = -Infinity;
  private pauseMs = FIRST_PAUSE_MS;

  constructor(
    private readonly url: string,
    private readonly onFailure: (error: unknown) => void,
    /** Tests control the time (ms). */
    private readonly now = () => performance.now(),
  ) {}

  /**
   * The key that verifies a token.
   * @throws JWKSNoMatchingKey if the provider has no such key; ApiError UNAVAILABLE if its keys are not known
   */
  async keyOf(header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<CryptoKey> {
    if (this.ageMs > MAX_AGE_MS) await this.fetch();
    const known = this.known;
    try {
      return await known(header, token);
    } catch (error) {
      // The provider may have added a key.
      if (!(error instanceof errors.JWKSNoMatchingKey) || this.ageMs < UNKNOWN_KEY_PAUSE_MS) throw error;
      await this.fetch();
      return await this.known(header, token);
    }
  }

  private get ageMs(): number {
    return this.now() - this.fetchedAt;
  }

  private get known(): LocalKeys {
    if (!this.keys || this.ageMs > MAX_AGE_IN_OUTAGE_MS)
      throw unavailable('The keys of the identity provider cannot be read; try again');
    return this.keys;
  }

  /** Fetches the keys, unless that has failed a moment ago. Never fails. */
  private async fetch(): Promise<void> {
    if (!this.fetching && this.now() < this.nextTryAt) return;
    this.fetching ??= this.fetchNow().finally(() => {
      this.fetching = undefined;
    });
    await this.fetching;
  }

  private async fetchNow(): Promise<void> {
    const startedAt = this.now();
    try {
      this.keys = createLocalJWKSet(await readKeys(this.url));
      this.fetchedAt = startedAt;
      this.pauseMs = FIRST_PAUSE_MS;
    } catch (error) {
      this.nextTryAt = this.now() + this.pauseMs;
      this.pauseMs = Math.min(this.pauseMs * 2, MAX_PAUSE_MS);
      this.onFailure(error);
    }
  }
}

async function readKeys(url: string): Promise<JSONWebKeySet> {
  const response = await fetch(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`The JWKS endpoint answered ${response.status}`);
  if (text.length > MAX_CHARACTERS) throw new Error('The answer of the JWKS endpoint is too long');
  return JSON.parse(text) as JSONWebKeySet;
}
