import { byId, make, setText } from './dom.js';
import { bytes, count, longTime, percent, seconds } from './format.js';
import { growth } from './history.js';

/** No cached value is used if the invalidation log was not read for this long (ms). */
const MAX_LOG_AGE_MS = 2_000;

const CACHE_STATES = {
  up: ['good', 'The circuit is closed: Redis is used'],
  down: ['bad', 'The circuit is open: reads go to PostgreSQL'],
  degraded: ['bad', 'The circuit is open: Redis refuses a command'],
  off: ['idle', 'REDIS_URL is off: reads go to PostgreSQL'],
};

/** Each tile: its title, and its state, value and explanation. */
const TILES = {
  Redis({ last }) {
    const { cache, reason } = last.health;
    const [state, text] = CACHE_STATES[cache];
    return [state, cache, reason ? `${text} (${reason})` : text];
  },
  'Invalidation log'({ last }) {
    const { invalidationLogAgeMs: age } = last.health;
    const tags = `${count(last.invalidationLogTags)} tags remembered`;
    if (age === null) return ['bad', 'never read', 'No cached value is trusted'];
    const isCurrent = age < MAX_LOG_AGE_MS;
    return [
      isCurrent ? 'good' : 'bad',
      `${longTime(age)} old`,
      isCurrent ? tags : 'No cached value is trusted',
    ];
  },
  PostgreSQL({ last }) {
    const { max, inUse, waiting } = last.pool;
    const { database } = last.health;
    const state = database === 'down' ? 'bad' : waiting > 0 ? 'warn' : 'good';
    const waits = waiting > 0 ? `, ${waiting} wait` : '';
    return [state, database, `${inUse} of ${max} connections in use${waits}`];
  },
  'Response cache'({ last }) {
    const { responseCache: cached } = last;
    if (!cached) return ['idle', 'off', 'Responses are not cached'];
    const filled = percent(cached.bytes / cached.maxBytes);
    return ['idle', bytes(cached.bytes), `${count(cached.entries)} responses, ${filled} of its memory`];
  },
  'Event loop'({ last }) {
    const { eventLoopDelayP99: delay } = last.process;
    const state = delay === null ? 'idle' : delay > 0.1 ? 'bad' : delay > 0.03 ? 'warn' : 'good';
    return [state, seconds(delay), '99 of 100 delays are shorter'];
  },
  'CPU and memory'({ last, recent }) {
    const { memoryBytes } = last.process;
    const passed = recent && (recent.after.at - recent.before.at) / 1_000;
    const used = recent && growth(recent, (state) => state.process.cpuSeconds) / passed;
    return ['idle', percent(used), `of a core; ${bytes(memoryBytes)} of memory`];
  },
};

const tiles = new Map();

/** Shows the state of the process and of the services that it uses. */
export function showOverview(history) {
  for (const [title, read] of Object.entries(TILES)) {
    const tile = tiles.get(title) ?? addTile(title);
    const [state, value, text] = read(history);
    tile.element.className = `tile ${state}`;
    setText(tile.value, value);
    setText(tile.text, text);
  }
  const { version, node, host, pid, startedAt } = history.last.process;
  const up = longTime(history.last.at - startedAt);
  setText(byId('process'), `Version ${version}, Node.js ${node}, on ${host} (process ${pid}), up ${up}`);
}

function addTile(title) {
  const [value, text] = [make('dd', { class: 'value' }), make('dd', { class: 'muted' })];
  const element = make('div', {}, make('dt', {}, title), value, text);
  byId('tiles').append(element);
  const tile = { element, value, text };
  tiles.set(title, tile);
  return tile;
}
