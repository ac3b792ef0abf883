const WIDTH = 760;
const BAR = 16;
const LABEL = 260;

/** An SVG of bars, in groups; shorter is better. */
export function bars(title: string, groups: readonly { title: string; values: ReadonlyMap<string, number> }[]): string {
  const most = Math.max(...groups.flatMap(({ values }) => [...values.values()]).filter(Number.isFinite));
  const lines: string[] = [];
  let y = 40;
  for (const { title, values } of groups) {
    lines.push(text(8, y, title, 'font-weight="bold"'));
    y += BAR + 4;
    for (const [name, value] of values) {
      // By its root: what costs twenty times as much would leave no room for the others.
      const width = Number.isFinite(value) ? Math.sqrt(value / most) * (WIDTH - LABEL - 70) : 0;
      lines.push(text(LABEL - 6, y, name, 'text-anchor="end"'));
      lines.push(`<rect x="${LABEL}" y="${y - 11}" width="${width.toFixed(1)}" height="${BAR - 3}" fill="#1f77b4"/>`);
      lines.push(text(LABEL + width + 5, y, Number.isFinite(value) ? value.toFixed(3) : 'stalls'));
      y += BAR + 2;
    }
    y += 10;
  }
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" font-family="sans-serif" font-size="11">`;
  return [head, text(8, 18, `${title} (bars by square root)`, 'font-size="14"'), ...lines, '</svg>\n'].join('\n');
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y}" ${attributes}>${escaped}</text>`;
}
