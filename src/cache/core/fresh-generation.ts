import { randomBytes } from 'node:crypto';

const BYTES = 12;
/** How many generations are drawn at once: each draw costs a system call. */
const DRAWN_AT_ONCE = 256;

let drawn = Buffer.alloc(0);
let used = 0;

/** Returns a new generation, 96 random bits. None repeats, not even after an eviction. */
export function freshGeneration(): string {
  if (used === drawn.length) {
    drawn = randomBytes(BYTES * DRAWN_AT_ONCE);
    used = 0;
  }
  return drawn.toString('base64url', used, (used += BYTES));
}
