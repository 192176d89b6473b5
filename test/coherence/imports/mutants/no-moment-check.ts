import type * as MomentCheckModule from '../../../../src/cache/response/moment-check.js';
import { serverModule } from '../server-module.js';

/** Answers are shown whatever moments their values are of. */
const { MomentCheck } = await serverModule<typeof MomentCheckModule>('cache/response/moment-check');

MomentCheck.prototype.holds = () => true;
