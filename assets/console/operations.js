import { byId, make } from './dom.js';
import { count, NONE, percent, perSecond, seconds } from './format.js';
import { growth, rate, sum } from './history.js';

const MAX_ROWS = 20;

/** Lists the operations on which the server spends the most time. */
export function showOperations({ last, recent }) {
  const rows = last.operations.map((total) => ({ total, ...recently(recent, total) }));
  const spent = sum(rows.map((row) => row.spent));
  rows.sort((a, b) => b.spent - a.spent || b.total.seconds - a.total.seconds);
  const made = rows
    .slice(0, MAX_ROWS)
    .map(({ total, calls, spent: time, each }) =>
      make(
        'tr',
        {},
        make('th', { scope: 'row' }, total.operation),
        make('td', {}, total.type),
        number(perSecond(each)),
        number(calls > 0 ? seconds(time / calls) : NONE),
        number(percent(spent > 0 ? time / spent : undefined)),
        number(count(total.count)),
        number(total.count > 0 ? seconds(total.seconds / total.count) : NONE),
      ),
    );
  const none = make(
    'tr',
    {},
    make('td', { colspan: 7, class: 'muted' }, 'No operation has been answered yet.'),
  );
  byId('operation-rows').replaceChildren(...(made.length > 0 ? made : [none]));
}

function recently(recent, { operation, type }) {
  if (!recent) return { calls: 0, spent: 0, each: undefined };
  const of = (state) =>
    state.operations.find((other) => other.operation === operation && other.type === type);
  return {
    calls: growth(recent, (state) => of(state)?.count),
    spent: growth(recent, (state) => of(state)?.seconds),
    each: rate(recent, (state) => of(state)?.count),
  };
}

const number = (text) => make('td', { class: 'number' }, text);
