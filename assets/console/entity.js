import { getEntity, invalidate } from './api.js';
import { byId, make } from './dom.js';
import { bytes, clock, dateAndTime, longTime, NONE } from './format.js';

const FIELD = { bot: 'bots', organization: 'organizations' };
const STATES = {
  current: ['good', 'current'],
  outdated: ['warn', 'outdated, not used'],
  orphaned: ['bad', 'orphaned, not used'],
  damaged: ['bad', 'damaged, not used'],
};

/** Only the last look-up may show its result. */
let asked = 0;

/** Lets the form look up entities. The page's address names the last one, so that a reload shows it again. */
export function startLookup() {
  const form = byId('lookup-form');
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const kind = form.elements.kind.value;
    const id = byId('entity-id').value.trim();
    history.replaceState(null, '', `#${new URLSearchParams({ [kind]: id }).toString()}`);
    void lookUp(kind, id);
  });
  addEventListener('hashchange', lookUpAddress);
  lookUpAddress();
}

function lookUpAddress() {
  const named = new URLSearchParams(location.hash.slice(1));
  for (const kind of Object.keys(FIELD)) {
    const id = named.get(kind);
    if (id === null || id === '') continue;
    byId('entity-id').value = id;
    byId('lookup-form').elements.kind.value = kind;
    void lookUp(kind, id);
  }
}

/** @param before what is told first */
async function lookUp(kind, id, before = '') {
  const [request, place] = [++asked, byId('entity')];
  place.setAttribute('aria-busy', 'true');
  try {
    const entity = await getEntity(kind, id);
    if (request !== asked) return;
    place.replaceChildren(...shown(kind, id, entity));
    place.hidden = false;
    say(`${before}${entity.values.length} cached values, read at ${clock(Date.now())}.`);
  } catch (error) {
    if (request !== asked) return;
    place.hidden = true;
    say(`${before}${error.message}`, true);
  } finally {
    place.removeAttribute('aria-busy');
  }
}

function say(text, isProblem = false) {
  const status = byId('lookup-status');
  status.className = isProblem ? 'problem' : '';
  status.textContent = text;
}

/** Drops what is cached, and shows what is left. */
async function drop(button, targets, kind, id) {
  for (const each of byId('entity').querySelectorAll('button')) each.disabled = true;
  say('Dropping …');
  try {
    const { tags } = await invalidate(targets);
    await lookUp(kind, id, `Dropped ${tags.join(', ')}. `);
    byId('drop-entity')?.focus();
  } catch (error) {
    say(error.message, true);
    for (const each of byId('entity').querySelectorAll('button')) each.disabled = false;
    button.focus();
  }
}

function shown(kind, id, { tags, values, invalidations }) {
  const dropButton = (text, targets, attributes = {}) =>
    make(
      'button',
      { type: 'button', onclick: (event) => void drop(event.target, targets, kind, id), ...attributes },
      text,
    );
  const again = make('button', { type: 'button', onclick: () => void lookUp(kind, id) }, 'Read again');
  return [
    make(
      'div',
      { class: 'entity-title' },
      make('h3', {}, `The ${kind} `, make('code', {}, id)),
      dropButton('Drop all of it', { [FIELD[kind]]: [id] }, { id: 'drop-entity', class: 'danger' }),
      again,
    ),
    make('h4', {}, 'Tags and generations'),
    table(
      'Tags and generations',
      ['Tag', 'Generation', 'Expires in', 'Drop'],
      tags.map(({ tag, generationKey, generation, ttlMs }) => [
        make('span', { title: generationKey }, make('code', {}, tag)),
        make('code', {}, generation ?? NONE),
        longTime(ttlMs),
        dropButton('Drop', { tags: [tag] }, { 'aria-label': `Drop ${tag}` }),
      ]),
    ),
    make('h4', {}, 'Values'),
    values.length === 0
      ? make('p', { class: 'muted' }, 'Redis holds no value.')
      : make('ul', { class: 'values' }, ...values.map(shownValue)),
    make('h4', {}, 'Last invalidations'),
    invalidations.length === 0
      ? make('p', { class: 'muted' }, 'The invalidation log has no entry.')
      : table(
          'Last invalidations',
          ['Time', 'Transaction', 'Tags'],
          invalidations.map(({ at, xid, tags: changed }) => [
            make('span', { class: 'time' }, dateAndTime(at)),
            xid,
            make('code', {}, changed.join(', ')),
          ]),
        ),
  ];
}

function shownValue({ key, resource, bytes: size, ttlMs, state, value }) {
  const [mood, text] = STATES[state] ?? ['warn', state];
  return make(
    'li',
    {},
    make(
      'details',
      {},
      make(
        'summary',
        {},
        make('code', {}, key),
        make('span', { class: `badge ${mood}` }, text),
        make(
          'span',
          { class: 'muted' },
          `${resource ?? 'unknown'}, ${bytes(size)}, expires in ${longTime(ttlMs)}`,
        ),
      ),
      make(
        'pre',
        { tabindex: '0', 'aria-label': `The value of ${key}` },
        JSON.stringify(value, null, 2) ?? NONE,
      ),
    ),
  );
}

function table(label, titles, rows) {
  const head = titles.map((title) => make('th', { scope: 'col' }, title));
  const body = rows.map((cells) => make('tr', {}, ...cells.map((cell) => make('td', {}, cell))));
  return make(
    'div',
    { class: 'scroll', role: 'region', 'aria-label': label, tabindex: '0' },
    make('table', {}, make('thead', {}, make('tr', {}, ...head)), make('tbody', {}, ...body)),
  );
}
