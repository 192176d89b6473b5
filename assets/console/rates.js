import { LineChart } from './chart.js';
import { byId } from './dom.js';
import { percent, perSecond, seconds } from './format.js';
import { growth, quantile, rate, share, sum } from './history.js';

/** The name of the response cache among the resources. */
const RESPONSE = 'response';

const inRedis = (state) =>
  Object.entries(state.resources).flatMap(([name, counts]) => (name === RESPONSE ? [] : [counts]));

const quantileOf = (step, latencyOf, wanted) =>
  quantile(step, step.after.latencies.bounds, ({ latencies }) => latencyOf(latencies), wanted);
const redisReads = ({ redis }) => redis.read;
const statements = ({ sql }) => sql;

/** The charts, and how they read the values of their series from two states. */
const CHARTS = [
  {
    title: 'Hit rate',
    series: [
      { key: 'values', name: 'values in Redis' },
      { key: 'responses', name: 'responses in this process' },
    ],
    format: percent,
    top: 1,
    read: (step) => ({
      values: share(
        growth(step, (state) => sum(inRedis(state).map(({ hits }) => hits))),
        growth(step, (state) => sum(inRedis(state).map(({ misses }) => sum(misses)))),
      ),
      responses: share(
        growth(step, ({ resources }) => resources[RESPONSE]?.hits),
        growth(step, ({ resources }) => sum(resources[RESPONSE]?.misses)),
      ),
    }),
  },
  {
    title: 'Latency',
    series: [
      { key: 'redis50', name: 'Redis, median' },
      { key: 'redis99', name: 'Redis, 99 %' },
      { key: 'sql50', name: 'PostgreSQL, median' },
      { key: 'sql99', name: 'PostgreSQL, 99 %' },
    ],
    format: seconds,
    isLogarithmic: true,
    read: (step) => ({
      redis50: quantileOf(step, redisReads, 0.5),
      redis99: quantileOf(step, redisReads, 0.99),
      sql50: quantileOf(step, statements, 0.5),
      sql99: quantileOf(step, statements, 0.99),
    }),
  },
  {
    title: 'Invalidated tags',
    series: [
      { key: 'mutation', name: 'for a mutation' },
      { key: 'helped', name: 'for another’s write' },
      { key: 'log', name: 'from the log' },
      { key: 'sweep', name: 'again' },
    ],
    format: perSecond,
    read: (step) =>
      Object.fromEntries(
        ['mutation', 'helped', 'log', 'sweep'].map((cause) => [
          cause,
          rate(step, ({ invalidations }) => invalidations[cause]),
        ]),
      ),
  },
  {
    title: 'Load',
    series: [
      { key: 'operations', name: 'operations' },
      { key: 'redis', name: 'round trips to Redis' },
      { key: 'sql', name: 'SQL statements' },
    ],
    format: perSecond,
    read: (step) => ({
      operations: rate(step, ({ operations }) => sum(operations.map(({ count }) => count))),
      redis: rate(step, ({ latencies }) => sum(Object.values(latencies.redis).map(({ count }) => count))),
      sql: rate(step, ({ latencies }) => latencies.sql.count),
    }),
  },
];

const charts = new Map();

/** Draws the charts of a process. */
export function showRates(history) {
  for (const described of CHARTS) {
    let chart = charts.get(described);
    if (!chart) {
      charts.set(described, (chart = new LineChart(described)));
      byId('charts').append(chart.element);
    }
    chart.draw(history.points(described.read), history.last.at);
  }
}
