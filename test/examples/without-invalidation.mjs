import { Invalidator } from '../../dist/cache/invalidation/invalidator.js';

/** Loaded before the example: neither its mutations nor the log tell Redis of a write. */
Invalidator.prototype.invalidate = async () => {};
Invalidator.prototype.addWrites = async () => {};
