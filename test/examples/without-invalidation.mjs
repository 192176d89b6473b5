import { Invalidator } from '../../dist/cache/invalidation/invalidator.js';

/** Loaded before the example: its mutations leave the invalidation to the log. */
Invalidator.prototype.invalidate = async () => {};
