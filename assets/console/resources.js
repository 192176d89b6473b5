import { Sparkline } from './chart.js';
import { byId, make, setText } from './dom.js';
import { count, NONE, percent, perSecond, seconds } from './format.js';
import { growth, quantile, rate, share, sum } from './history.js';

/** The cache of responses is in memory: it loads and stores nothing. */
const RESPONSE = 'response';

/** What a card draws: the value of each step, and its text. */
const TRENDS = {
  hitRate: {
    title: 'Hit rate',
    format: percent,
    top: 1,
    read: (step, of) =>
      share(
        growth(step, (state) => of(state)?.hits),
        growth(step, (state) => sum(of(state)?.misses)),
      ),
  },
  latency: {
    title: 'Read, median',
    format: seconds,
    read: (step, of) => quantile(step, step.after.latencies.bounds, (state) => of(state)?.reads, 0.5),
  },
  slowest: {
    title: 'Read, 99 %',
    format: seconds,
    read: (step, of) => quantile(step, step.after.latencies.bounds, (state) => of(state)?.reads, 0.99),
  },
  invalidations: {
    title: 'Invalidated',
    format: perSecond,
    // Every logged write counts once in these two; those of this process also count when they are made.
    read: (step, of) =>
      rate(step, (state) => (of(state)?.invalidations.log ?? 0) + (of(state)?.invalidations.helped ?? 0)),
  },
};

const FACTS = {
  reads: 'Values read',
  total: 'Hits since start',
  misses: 'Misses',
  loads: 'Values loaded',
  shared: 'Shared loads',
  stored: 'Stored',
  refreshed: 'Refreshed ahead',
  policy: 'Decision',
};
const FACTS_OF_RESPONSES = ['reads', 'total', 'misses'];

const cards = new Map();

/** Shows a card for each cached resource. */
export function showResources(history) {
  const { resources } = history.last;
  for (const name of Object.keys(resources)) showCard(cards.get(name) ?? addCard(name), history);
  for (const [name, { element }] of cards) element.hidden = !(name in resources);
  byId('no-resources').hidden = Object.keys(resources).length > 0;
}

function showCard({ name, element, trends, facts }, history) {
  const { last, recent } = history;
  const of = (state) => state.resources[name];
  element.classList.toggle('unread', of(last).hits + sum(of(last).misses) === 0);
  for (const [key, { sparkline, value }] of Object.entries(trends)) {
    const { read, format, top } = TRENDS[key];
    sparkline.draw(
      history.points((step) => read(step, of)),
      last.at,
      top,
    );
    setText(value, format(recent && read(recent, of)));
  }
  const texts = factsOf(of(last), recent, of);
  for (const [key, fact] of Object.entries(facts)) setText(fact, texts[key]);
}

function factsOf(counts, recent, of) {
  const missed = Object.entries(counts.misses).filter(([, number]) => number > 0);
  const { stored = 0, outdated = 0 } = counts.fills;
  const { replaced = 0 } = counts.replacements;
  const { refreshed = 0, failed = 0 } = counts.refreshed;
  const readsIn = (state) => (of(state)?.hits ?? 0) + sum(of(state)?.misses);
  return {
    reads: perSecond(recent && rate(recent, readsIn)),
    total: `${percent(share(counts.hits, sum(counts.misses)))} of ${count(counts.hits + sum(counts.misses))}`,
    misses: missed.map(([reason, number]) => `${count(number)} ${reason}`).join(', ') || NONE,
    loads: perSecond(recent && rate(recent, (state) => of(state)?.loadedValues)),
    shared: `${count(counts.joined)} joined, ${count(counts.waited)} waited`,
    stored: `${count(stored)}, ${count(replaced)} replaced, ${count(outdated)} refused`,
    policy: [
      counts.policy.store === 0 ? 'stores a sample only' : 'stores all',
      counts.policy.refresh === 0 ? 'refreshes none' : 'refreshes what is read often',
    ].join(', '),
    refreshed: failed > 0 ? `${count(refreshed)}, ${count(failed)} failed` : count(refreshed),
  };
}

function addCard(name) {
  const isResponse = name === RESPONSE;
  const trends = make('dl', { class: 'trends' });
  const facts = make('dl', { class: 'facts' });
  const unread = make('p', { class: 'muted' }, 'Not read since the start.');
  const card = { name, trends: {}, facts: {} };
  for (const key of isResponse ? ['hitRate'] : Object.keys(TRENDS)) {
    const trend = (card.trends[key] = { sparkline: new Sparkline(), value: make('span') });
    const shown = make('dd', {}, trend.sparkline.element, trend.value);
    trends.append(make('div', { class: key }, make('dt', {}, TRENDS[key].title), shown));
  }
  for (const key of isResponse ? FACTS_OF_RESPONSES : Object.keys(FACTS)) {
    card.facts[key] = make('dd');
    facts.append(make('div', {}, make('dt', {}, FACTS[key]), card.facts[key]));
  }
  card.element = make(
    'li',
    { class: 'card', 'data-resource': name },
    make('h3', {}, name),
    trends,
    unread,
    facts,
  );
  cards.set(name, card);
  const later = [...cards.values()].filter((other) => other.name > name);
  later.sort((a, b) => (a.name < b.name ? -1 : 1));
  byId('resource-cards').insertBefore(card.element, later[0]?.element ?? null);
  return card;
}
