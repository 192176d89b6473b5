import { byId, make, setText } from './dom.js';
import { dateAndTime, NONE } from './format.js';

/** Lists the processes that read the invalidation log. */
export function showProcesses({ last: { processes } }) {
  const note = byId('processes-note');
  if (!processes) setText(note, 'PostgreSQL does not answer, so the processes are unknown.');
  else if (processes.length === 0)
    setText(
      note,
      'PostgreSQL lists none: a pooler or the database’s URL gives the connections another name.',
    );
  else setText(note, `${processes.length} on this database, this one included. Read every 10 seconds.`);
  const rows = (processes ?? []).map(({ address, port, connectedAt }) =>
    make(
      'tr',
      {},
      make('th', { scope: 'row' }, address === null ? 'local socket' : `${address}, port ${port}`),
      make('td', { class: 'time' }, connectedAt === null ? NONE : dateAndTime(connectedAt)),
    ),
  );
  byId('process-rows').replaceChildren(...rows);
}
