import type { ThroughputResult } from '../measure/throughput.js';
import { figure } from './table.js';
import { byWorkload, medianOf, yardsticks } from './throughput.js';

const COLORS: Readonly<Record<string, string>> = {
  ours: '#0b7a5c',
  resolvers: '#5fbf9f',
  A: '#c0504d',
  B: '#d98a3d',
  C: '#8064a2',
  D: '#4f81bd',
  E: '#9a9a9a',
};

const WIDTH = 960;
const PANEL_LEFT = [24, 500];
const BAR_WIDTH = 350;
const BAR_HEIGHT = 13;
const TOP = 96;

/** One value of one server, as a bar. */
interface Bar {
  readonly id: string;
  readonly value: number;
  readonly label: string;
}

/**
 * Draws requests a second relative to the ceiling, and CPU time per request, for each server and workload. Each group of
 * bars has its own scale.
 */
export function drawChart(results: readonly ThroughputResult[]): string {
  const groups = byWorkload(results);
  const shown = (groups[0] ?? []).filter(({ server }) => COLORS[server.contender.id] !== undefined);
  const groupHeight = shown.length * BAR_HEIGHT + 34;
  const height = TOP + groups.length * groupHeight + 8;
  const parts = groups.flatMap((group, i) => {
    const y = TOP + i * groupHeight;
    const title = group[0]?.workload.title ?? '';
    return [
      bars(PANEL_LEFT[0] ?? 0, y, title, relativeThroughput(group), 1),
      bars(PANEL_LEFT[1] ?? 0, y, title, cpuTimes(group), undefined),
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="11">`,
    '<title>Flovo Bots and its peers: requests per second and CPU time</title>',
    `<rect width="${WIDTH}" height="${height}" rx="8" fill="#ffffff"/>`,
    text(PANEL_LEFT[0] ?? 0, 30, 'Requests/s relative to the ceiling (longer is better)', 'bold'),
    text(PANEL_LEFT[1] ?? 0, 30, 'CPU µs of the server for a request (shorter is better)', 'bold'),
    legend(shown),
    text(
      PANEL_LEFT[0] ?? 0,
      height - 8,
      'The ceiling: bare node:http that does one Redis GET and sends the bytes it finds.',
    ),
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function relativeThroughput(group: readonly ThroughputResult[]): Bar[] {
  const { ceiling } = yardsticks(group);
  if (!ceiling) return [];
  return group.map((result) => {
    const value = medianOf(result, 'requestsPerSecond') / medianOf(ceiling, 'requestsPerSecond');
    return { id: result.server.contender.id, value, label: value.toFixed(2) };
  });
}

const cpuTimes = (group: readonly ThroughputResult[]): Bar[] =>
  group.map((result) => {
    const value = medianOf(result, 'cpuMicroseconds');
    return { id: result.server.contender.id, value, label: figure(value) };
  });

/** @param full the value of a bar of full length; absent: the largest */
function bars(x: number, y: number, title: string, all: readonly Bar[], full: number | undefined): string {
  const shown = all.filter(({ id }) => COLORS[id] !== undefined);
  const scale = BAR_WIDTH / Math.max(full ?? 0, ...shown.map(({ value }) => value));
  const drawn = shown.map(({ id, value, label }, i) => {
    const top = y + 6 + i * BAR_HEIGHT;
    const width = Math.max(1, value * scale);
    return [
      `<rect x="${x}" y="${top}" width="${width.toFixed(1)}" height="${BAR_HEIGHT - 3}" fill="${COLORS[id]}"/>`,
      text(x + width + 5, top + BAR_HEIGHT - 4.5, label),
    ].join('');
  });
  return [text(x, y, title, 'bold'), ...drawn].join('\n');
}

function legend(shown: readonly ThroughputResult[]): string {
  const columns = 4;
  return shown
    .map(({ server: { contender } }, i) => {
      const x = (PANEL_LEFT[0] ?? 0) + (i % columns) * 235;
      const y = 44 + Math.floor(i / columns) * 17;
      return `<rect x="${x}" y="${y}" width="10" height="10" fill="${COLORS[contender.id]}"/>${text(x + 15, y + 9, contender.title)}`;
    })
    .join('\n');
}

const text = (x: number, y: number, content: string, weight = 'normal'): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" fill="#222222" font-weight="${weight}">${escape(content)}</text>`;

const escape = (content: string): string =>
  content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
