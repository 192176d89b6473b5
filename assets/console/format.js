const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });

export const NONE = '–';

export const count = (number) => compact.format(number);

export function perSecond(rate) {
  if (rate === undefined) return NONE;
  if (rate > 0 && rate < 0.1) return '< 0.1/s';
  return `${compact.format(rate)}/s`;
}

/** A share from 0 to 1, which is shown as 100 % only if it is 1. */
export function percent(share) {
  if (share === undefined) return NONE;
  const percents = share < 1 ? Math.min(share * 100, 99.9) : 100;
  return `${Number(percents.toFixed(1))} %`;
}

const trimmed = (number) => String(Number(number.toPrecision(3)));

export function seconds(time) {
  if (time === undefined || time === null) return NONE;
  if (time < 0.001) return `${trimmed(time * 1e6)} µs`;
  if (time < 1) return `${trimmed(time * 1_000)} ms`;
  return `${trimmed(time)} s`;
}

/** A longer time: `4 min 12 s`. */
export function longTime(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const total = Math.floor(ms / 1_000);
  const units = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
    [1, 's'],
  ];
  const first = units.findIndex(([size]) => total >= size);
  const [large, small] = [units[first], units[first + 1]];
  const rest = small && Math.floor((total % large[0]) / small[0]);
  return `${Math.floor(total / large[0])} ${large[1]}${rest ? ` ${rest} ${small[1]}` : ''}`;
}

export function bytes(number) {
  if (number < 1_024) return `${number} B`;
  const [size, unit] = number < 1_048_576 ? [1_024, 'kB'] : [1_048_576, 'MB'];
  return `${trimmed(number / size)} ${unit}`;
}

export const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });

/** Swedes write dates as ISO 8601 does, and everybody can read them. */
export const dateAndTime = (time) => new Date(time).toLocaleString('sv-SE');
