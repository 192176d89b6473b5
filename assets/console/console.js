import { forgetToken, getState, hasToken, RequestError, saveToken } from './api.js';
import { byId, make, setText } from './dom.js';
import { startLookup } from './entity.js';
import { History } from './history.js';
import { showOperations } from './operations.js';
import { showOverview } from './overview.js';
import { showProcesses } from './processes.js';
import { showRates } from './rates.js';
import { showResources } from './resources.js';

const POLL_MS = 2_000;
/** The longest pause between two requests while the server does not answer. */
const MAX_PAUSE_MS = 30_000;

/** A process that has not answered for this long is no longer shown, if another one answers. */
const GONE_AFTER_MS = 60_000;

/** By the id of the process. A balancer may send each request to another one. */
const histories = new Map();
let shownProcess;
let timer;
let isPolling = false;
let isPaused = false;
let failures = 0;
let isOpen = false;
let isLookupStarted = false;

async function poll() {
  clearTimeout(timer);
  if (isPolling || isPaused || document.hidden) return;
  isPolling = true;
  try {
    const state = await getState();
    failures = 0;
    if (!isPaused) setText(byId('connection'), 'Live, every 2 seconds');
    showContent();
    remember(state);
    render();
    wait(POLL_MS);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    fail(error);
  } finally {
    isPolling = false;
  }
}

function wait(ms) {
  clearTimeout(timer);
  timer = setTimeout(() => void poll(), ms);
}

function fail(error) {
  if (error.status === 401) return askForToken();
  failures += 1;
  setText(byId('connection'), `${error.message}. Trying again.`);
  return wait(Math.min(MAX_PAUSE_MS, POLL_MS * 2 ** Math.min(failures, 5)));
}

function remember(state) {
  const { id } = state.process;
  const known = histories.get(id) ?? new History();
  known.add(state);
  histories.set(id, known);
  for (const [other, { arrivedAt }] of histories)
    if (known.arrivedAt - arrivedAt > GONE_AFTER_MS) histories.delete(other);
  if (!histories.has(shownProcess)) shownProcess = id;
  listProcesses();
}

function listProcesses() {
  const select = byId('process-select');
  const listed = [...select.options].map(({ value }) => value);
  if (listed.join() === [...histories.keys()].join()) return;
  const options = [...histories].map(([id, { last }]) =>
    make('option', { value: id }, `${last.process.host}, process ${last.process.pid}`),
  );
  select.replaceChildren(...options);
  select.value = shownProcess;
  byId('process-choice').hidden = histories.size < 2;
}

function render() {
  const shown = histories.get(shownProcess);
  for (const show of [showOverview, showRates, showResources, showOperations, showProcesses]) show(shown);
}

/** Shows the page once the server has answered. */
function showContent() {
  byId('sign-out').hidden = !hasToken();
  if (isOpen) return;
  isOpen = true;
  const hadForm = !byId('sign-in').hidden;
  byId('sign-in').hidden = true;
  for (const id of ['content', 'sections', 'pause']) byId(id).hidden = false;
  if (hadForm) byId('content').focus();
  if (!isLookupStarted) startLookup();
  isLookupStarted = true;
}

function askForToken() {
  const wasRefused = hasToken();
  forgetToken();
  isOpen = false;
  for (const id of ['content', 'sections', 'pause', 'sign-out']) byId(id).hidden = true;
  byId('sign-in').hidden = false;
  setText(byId('connection'), '');
  setText(byId('token-problem'), wasRefused ? 'The server refused this token.' : '');
  byId('token').value = '';
  byId('token').focus();
}

byId('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  saveToken(byId('token').value.trim());
  void poll();
});

byId('sign-out').addEventListener('click', () => {
  forgetToken();
  // What was shown needs the token as well.
  location.reload();
});

byId('pause').addEventListener('click', () => {
  isPaused = !isPaused;
  byId('pause').setAttribute('aria-pressed', String(isPaused));
  if (isPaused) setText(byId('connection'), 'Paused');
  else void poll();
});

byId('process-select').addEventListener('change', (event) => {
  shownProcess = event.target.value;
  render();
});

document.addEventListener('visibilitychange', () => void poll());

void poll();
