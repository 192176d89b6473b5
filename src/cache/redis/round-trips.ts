import type { RedisOperation } from '../core/observer.js';
import { cut } from './pieces.js';
import type { RedisCircuitBreaker } from './redis-circuit-breaker.js';
import type { RedisClient } from './redis-client.js';

/** The maximum cost of one round trip, see `costOf`; larger operations take several, one after another. */
export const MAX_ROUND_TRIP_COST = 1_000;

/** One command of an operation. */
export interface Command<Result> {
  readonly cost: number;
  readonly send: (client: RedisClient) => Promise<Result>;
}

type Circuit = Pick<RedisCircuitBreaker, 'run' | 'attempt'>;

const inRoundTrips = <Result>(commands: readonly Command<Result>[]): Command<Result>[][] =>
  cut(commands, ({ cost }) => cost, MAX_ROUND_TRIP_COST);

const costOfAll = (commands: readonly { readonly cost: number }[]): number =>
  commands.reduce((sum, { cost }) => sum + cost, 0);

/** Sends commands, in order, in as few round trips as their cost allows. The results are aligned. */
export async function sendAll<Result>(
  circuit: Circuit,
  operation: RedisOperation,
  commands: readonly Command<Result>[],
): Promise<Result[]> {
  const results = await Promise.all(
    inRoundTrips(commands).map(
      async (roundTrip) =>
        await circuit.run(
          operation,
          async (client) => await Promise.all(roundTrip.map(async ({ send }) => await send(client))),
          costOfAll(roundTrip),
        ),
    ),
  );
  return results.flat() as Result[];
}

/**
 * Sends commands as {@link sendAll} does, but all of them even if one fails: if one node of a cluster fails, the
 * others must receive the invalidation before the write is answered.
 * @param whileOpen also tries while the circuit is open, one round trip after the other, up to the first failure
 * @throws the error of the first command that failed
 */
export async function sendEach(
  circuit: Circuit,
  operation: RedisOperation,
  commands: readonly Command<unknown>[],
  whileOpen: boolean,
): Promise<void> {
  const roundTrips = inRoundTrips(commands);
  const send = (roundTrip: readonly Command<unknown>[]) => async (client: RedisClient) =>
    throwFirstFailure(await Promise.allSettled(roundTrip.map(async (command) => await command.send(client))));
  if (whileOpen) {
    for (const roundTrip of roundTrips) await circuit.attempt(operation, send(roundTrip));
    return;
  }
  const sent = roundTrips.map(
    async (roundTrip) => await circuit.run(operation, send(roundTrip), costOfAll(roundTrip)),
  );
  throwFirstFailure(await Promise.allSettled(sent));
}

function throwFirstFailure(outcomes: readonly PromiseSettledResult<unknown>[]): void {
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}
