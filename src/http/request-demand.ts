import type { FastifyRequest } from 'fastify';

import { EndingDemand } from '../cache/core/demand.js';
import { badInput, deadlineExceeded } from '../errors.js';

/** The header that limits the time of a request, in ms. */
const HEADER = 'x-request-timeout-ms';
/** The time limit of a request without the header, and the maximum of the header (ms). */
const MAX_REQUEST_MS = 30_000;

/**
 * The demand of a client for the answer to its request: it ends when the client leaves, and at the deadline. Most requests
 * end before anybody asks, so nothing is watched until then.
 */
export class RequestDemand extends EndingDemand {
  private timer: NodeJS.Timeout | undefined;
  private readonly deadline: number;

  /** @param limitMs see {@link timeLimitOf} */
  constructor(
    private readonly request: FastifyRequest,
    private readonly limitMs: number,
  ) {
    super();
    this.deadline = performance.now() + limitMs;
  }

  protected watch(): void {
    const { socket } = this.request.raw;
    if (socket.destroyed) this.left();
    else {
      socket.once('close', this.left);
      this.timer = setTimeout(this.tooLate, Math.max(0, this.deadline - performance.now()));
    }
  }

  protected unwatch(): void {
    this.request.raw.socket.off('close', this.left);
    clearTimeout(this.timer);
  }

  private readonly left = (): void => this.finish(deadlineExceeded('The client has left'));

  private readonly tooLate = (): void =>
    this.finish(deadlineExceeded(`The request was given up after ${this.limitMs} ms; try again later`));
}

/** The time limit of a request (ms). @throws ApiError BAD_USER_INPUT if its header is no number */
export function timeLimitOf({ headers }: FastifyRequest): number {
  const header = headers[HEADER];
  if (header === undefined) return MAX_REQUEST_MS;
  if (typeof header !== 'string' || !/^[1-9]\d{0,8}$/.test(header))
    throw badInput(HEADER, 'must be a number of milliseconds');
  return Math.min(Number(header), MAX_REQUEST_MS);
}
