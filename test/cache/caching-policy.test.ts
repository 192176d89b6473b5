import { describe, expect, test } from '@jest/globals';

import { CachingPolicy } from '../../src/cache/reader/caching-policy.js';

/** A policy, and a clock that moves by a window after each of these. */
function observe() {
  let now = 0;
  const policy = new CachingPolicy(() => now);
  return {
    policy,
    /** A minute in which each of `stored` values was found `reuse` times. */
    minute({ stored = 2_000, reuse, loadMs = 1, storeMs = 0.2 }: Record<string, number> & { reuse: number }) {
      policy.stored(stored, stored * storeMs);
      policy.hit(stored * reuse);
      now += 60_001;
      policy.loaded(stored, stored * loadMs);
    },
  };
}

const keys = Array.from({ length: 8_000 }, (_, i) => `bot:${i}`);
const storedShare = (policy: CachingPolicy) =>
  keys.filter((key) => policy.storesKey(key)).length / keys.length;

describe('the policy of a resource', () => {
  test('stores and refreshes everything before it has observed anything', () => {
    const { policy } = observe();
    expect([policy.stores, policy.refreshes, storedShare(policy)]).toEqual([true, true, 1]);
  });

  test('goes on storing what is read again', () => {
    const { policy, minute } = observe();
    for (let n = 0; n < 5; n++) minute({ reuse: 0.5 });
    expect([policy.stores, storedShare(policy), policy.reuse]).toEqual([true, 1, 0.5]);
  });

  test('stores a sample of what is never read again, after two minutes of it', () => {
    const { policy, minute } = observe();
    minute({ reuse: 0.01 });
    expect(policy.stores).toBe(true);
    minute({ reuse: 0.01 });
    expect(policy.stores).toBe(false);
    expect(storedShare(policy)).toBeGreaterThan(0.1);
    expect(storedShare(policy)).toBeLessThan(0.15);
  });

  test('stores everything again when the sample is read again', () => {
    const { policy, minute } = observe();
    for (let n = 0; n < 2; n++) minute({ reuse: 0.01 });
    minute({ reuse: 3, stored: 250 });
    expect(policy.stores).toBe(true);
  });

  test('weighs what a load costs: expensive values are stored although few are read again', () => {
    const { policy, minute } = observe();
    for (let n = 0; n < 3; n++) minute({ reuse: 0.05, loadMs: 20 });
    expect(policy.stores).toBe(true);
  });

  test('refreshes only what is found at least once, on average', () => {
    const { policy, minute } = observe();
    minute({ reuse: 0.9 });
    expect(policy.refreshes).toBe(false);
    minute({ reuse: 1.1 });
    expect(policy.refreshes).toBe(true);
  });

  test('decides nothing from few reads', () => {
    const { policy, minute } = observe();
    for (let n = 0; n < 5; n++) minute({ reuse: 0, stored: 900 });
    expect([policy.stores, policy.refreshes]).toEqual([true, true]);
  });
});
