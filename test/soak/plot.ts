/** A line of a plot: [seconds, value]. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

const WIDTH = 720;
const MAX_POINTS = 2_000;
const HEIGHT = 200;
const LEFT = 64;
const TOP = 28;
const BOTTOM = 24;
const COLOURS = ['#1f77b4', '#d62728', '#2ca02c', '#ff7f0e'];

/** An SVG of lines over time; what happened at an instant is a grey line across it. */
export function plot(title: string, series: readonly Series[], instants: readonly number[] = []): string {
  const points = series.flatMap(({ points }) => points);
  const end = points.reduce((most, [at]) => Math.max(most, at), 1);
  const top = points.reduce((most, [, value]) => Math.max(most, value), 1) * 1.05;
  const x = (at: number) => LEFT + (at / end) * (WIDTH - LEFT - 8);
  const y = (value: number) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const lines = series.map(({ points }, index) => {
    const path = thinned(points)
      .map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`)
      .join(' ');
    return `<polyline fill="none" stroke="${COLOURS[index % COLOURS.length]}" points="${path}"/>`;
  });
  const legend = series.map(
    ({ name }, index) => `<tspan dx="12" fill="${COLOURS[index % COLOURS.length]}">${escaped(name)}</tspan>`,
  );
  const ticks = [0, 0.5, 1].map((part) => {
    const value = part * top;
    return `<text x="${LEFT - 6}" y="${y(value) + 4}" text-anchor="end">${short(value)}</text>`;
  });
  const marks = instants.map(
    (at) => `<line x1="${x(at)}" x2="${x(at)}" y1="${TOP}" y2="${HEIGHT - BOTTOM}" stroke="#ccc"/>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" font-family="sans-serif" font-size="11">`,
    ...marks,
    `<text x="${LEFT}" y="16" font-size="13">${escaped(title)}${legend.join('')}</text>`,
    `<path d="M${LEFT},${TOP}V${HEIGHT - BOTTOM}H${WIDTH - 8}" fill="none" stroke="#888"/>`,
    ...ticks,
    `<text x="${WIDTH - 8}" y="${HEIGHT - 6}" text-anchor="end">${short(end)} s</text>`,
    ...lines,
    '</svg>',
  ].join('\n');
}

/** At most so many of a line's points, and of those that are left out between two the lowest and the highest. */
function thinned(points: Series['points']): Series['points'] {
  const size = Math.ceil(points.length / (MAX_POINTS / 2));
  if (size < 2) return points;
  return Array.from({ length: Math.ceil(points.length / size) }, (_, n) => {
    const some = points.slice(n * size, (n + 1) * size).toSorted(([, a], [, b]) => a - b);
    return [some[0], some.at(-1)].filter((point) => point !== undefined).toSorted(([a], [b]) => a - b);
  }).flat();
}

function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
