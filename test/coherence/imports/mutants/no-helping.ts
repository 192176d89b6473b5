import type * as HelpingModule from '../../../../src/cache/invalidation/helping.js';
import { serverModule } from '../server-module.js';

/** Loaded values are shown before the writes that they contain are invalidated. */
const { Helping } = await serverModule<typeof HelpingModule>('cache/invalidation/helping');

Helping.prototype.admit = () => undefined;
