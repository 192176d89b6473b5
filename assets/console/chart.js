import { make, makeSvg, setText } from './dom.js';
import { longTime } from './format.js';
import { SPAN_MS } from './history.js';

const WIDTH = 600;
const HEIGHT = 120;
/** A line is not drawn across a longer time without a state. */
const MAX_GAP_MS = 15_000;

/** A chart of the last minutes with a line for each series. */
export class LineChart {
  points = [];
  now = 0;
  /** The point whose values are shown, counted from the last one; undefined: the current values. */
  cursor = undefined;

  /**
   * @param series `{ key, name }` of each line
   * @param format makes the text of a value
   * @param top the upper end of the scale, if it is fixed
   * @param isLogarithmic whether the scale is
   */
  constructor({ title, series, format, top, isLogarithmic = false }) {
    Object.assign(this, { title, series, format, top, isLogarithmic });
    this.lines = series.map((_, i) => makeSvg('path', { class: `line line-${i + 1}` }));
    this.marker = makeSvg('path', { class: 'marker' });
    const grid = makeSvg('path', { class: 'grid', d: `M0 ${HEIGHT / 2}H${WIDTH}` });
    this.svg = makeSvg(
      'svg',
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: 'none',
        role: 'img',
        tabindex: '0',
        onkeydown: (event) => this.move(event),
        onpointermove: (event) => this.point(event),
        onpointerleave: () => this.show(undefined),
        onblur: () => this.show(undefined),
      },
      grid,
      ...this.lines,
      this.marker,
    );
    this.scale = [make('span'), make('span'), make('span', {}, format(isLogarithmic ? BOTTOM : 0))];
    this.values = series.map(() => make('span', { class: 'value' }));
    this.moment = make('span', { class: 'moment' });
    this.spoken = make('p', { class: 'hidden-text', role: 'status' });
    const legend = series.map(({ name }, i) =>
      make('li', {}, makeKey(i), make('span', {}, name), this.values[i]),
    );
    this.element = make(
      'figure',
      { class: 'chart' },
      make('figcaption', {}, title, this.moment),
      make(
        'div',
        { class: 'plot' },
        make('div', { class: 'scale', 'aria-hidden': 'true' }, ...this.scale),
        this.svg,
      ),
      make(
        'div',
        { class: 'times', 'aria-hidden': 'true' },
        make('span', {}, `${SPAN_MS / 60_000} min ago`),
        make('span', {}, 'now'),
      ),
      make('ul', { class: 'legend' }, ...legend),
      this.spoken,
    );
  }

  /** Draws points `{ at, values }`, the oldest first. */
  draw(points, now) {
    Object.assign(this, { points, now });
    const all = points.flatMap(({ values }) => this.series.map(({ key }) => values[key] ?? 0));
    const largest = Math.max(0, ...all);
    const top = this.isLogarithmic
      ? Math.max(100 * BOTTOM, 10 ** Math.ceil(Math.log10(largest || BOTTOM)))
      : (this.top ?? niceTop(largest));
    const scale = (this.isLogarithmic ? logarithmic : linear)(top);
    setText(this.scale[0], this.format(top));
    setText(this.scale[1], this.format(this.isLogarithmic ? Math.sqrt(top * BOTTOM) : top / 2));
    this.series.forEach(({ key }, i) => {
      const line = points.map(({ at, values }) => [at, values[key]]);
      this.lines[i].setAttribute('d', pathOf(line, now, scale, WIDTH, HEIGHT));
    });
    this.show(this.cursor);
  }

  /** Shows the values of a point, counted from the last one. */
  show(cursor) {
    this.cursor = cursor;
    const point = this.points.at(-1 - (cursor ?? 0));
    const texts = this.series.map(({ key }) => this.format(point?.values[key]));
    texts.forEach((text, i) => setText(this.values[i], text));
    const ago = cursor === undefined || !point ? '' : `${longTime(this.now - point.at)} ago`;
    setText(this.moment, ago);
    this.marker.setAttribute('d', ago ? `M${xOf(point.at, this.now, WIDTH)} 0V${HEIGHT}` : '');
    const summary = this.series.map(({ name }, i) => `${name} ${texts[i]}`).join(', ');
    this.summary = ago ? `${ago}: ${summary}` : summary;
    this.svg.setAttribute('aria-label', `${this.title}: ${this.summary}`);
  }

  move(event) {
    const steps = { ArrowLeft: 1, ArrowRight: -1 }[event.key];
    if (event.key === 'Escape') this.show(undefined);
    if (steps === undefined || this.points.length === 0) return;
    event.preventDefault();
    const moved = (this.cursor ?? 0) + steps;
    this.show(Math.min(this.points.length - 1, Math.max(0, moved)));
    setText(this.spoken, this.summary);
  }

  point(event) {
    const { left, width } = this.svg.getBoundingClientRect();
    const at = this.now - SPAN_MS * (1 - (event.clientX - left) / width);
    let nearest = this.points.length - 1;
    this.points.forEach((point, i) => {
      if (Math.abs(point.at - at) < Math.abs(this.points[nearest].at - at)) nearest = i;
    });
    if (nearest >= 0) this.show(this.points.length - 1 - nearest);
  }
}

/** A small line without a scale. */
export class Sparkline {
  line = makeSvg('path', { class: 'line line-1' });
  element = makeSvg(
    'svg',
    { viewBox: '0 0 200 40', preserveAspectRatio: 'none', class: 'sparkline', 'aria-hidden': 'true' },
    makeSvg('path', { class: 'grid', d: 'M0 39H200' }),
    this.line,
  );

  /**
   * Draws points `{ at, values }` with one value each, the oldest first.
   * @param top the upper end; by default the largest value
   */
  draw(points, now, top) {
    const line = points.map(({ at, values }) => [at, values]);
    const largest = Math.max(0, ...points.map(({ values }) => values ?? 0));
    this.line.setAttribute('d', pathOf(line, now, linear(top ?? (largest || 1)), 200, 40));
  }
}

/** The key of a line in the legend. It is drawn as the line is, so that nobody has to tell colors apart. */
const makeKey = (i) =>
  makeSvg(
    'svg',
    { class: 'key', viewBox: '0 0 24 8', 'aria-hidden': 'true' },
    makeSvg('path', { class: `line line-${i + 1}`, d: 'M1 4H23' }),
  );

const xOf = (at, now, width) => width * (1 - (now - at) / SPAN_MS);

/** Scales map values to 0 (bottom) to 1 (top). */
const linear = (top) => (value) => Math.min(1, value / top);

/** The lower end of logarithmic scales. */
const BOTTOM = 0.0001;

const logarithmic = (top) => (value) =>
  Math.min(1, Math.max(0, Math.log(value / BOTTOM) / Math.log(top / BOTTOM)));

function pathOf(points, now, scale, width, height) {
  let path = '';
  let drawnAt;
  for (const [at, value] of points) {
    if (value === undefined) {
      drawnAt = undefined;
      continue;
    }
    const x = xOf(at, now, width).toFixed(1);
    const y = (2 + (height - 4) * (1 - scale(value))).toFixed(1);
    const continues = drawnAt !== undefined && at - drawnAt <= MAX_GAP_MS;
    // A point without neighbors is drawn as a dot.
    path += continues ? `L${x} ${y}` : `M${x} ${y}h.1`;
    drawnAt = at;
  }
  return path;
}

/** The next of 1, 2, 5, 10, 20, … */
function niceTop(max) {
  if (max <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(max));
  return [1, 2, 5, 10].find((step) => step * power >= max) * power;
}
