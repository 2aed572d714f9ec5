/** Bars for what the cases ask to be shown, as SVG: one file that is readable on light and dark pages. */

import { median } from './figures.ts';
import type { Figure, Report } from './result.ts';
import { number } from './tables.ts';

const width = 760;
const labelWidth = 260;
const valueWidth = 130;
const barHeight = 18;
const barGap = 6;
const titleHeight = 46;

const style = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 14px }
  .unit, .value { fill: #59636e }
  .ours { fill: #0969da } .rival { fill: #8c959f } .limit { fill: #d1d9e0 }
  .spread { stroke: #1f2328; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .unit, .value { fill: #9198a1 }
    .ours { fill: #4493f8 } .rival { fill: #656c76 } .limit { fill: #3d444d }
    .spread { stroke: #f0f6fc }
  }`;

export function chart(report: Report): string {
  let y = 0;
  const parts: string[] = [];
  for (const { number: row, title, figures, shown } of report.cases) {
    for (const what of shown) {
      const bars = figures.filter((figure) => figure.what === what);
      if (bars.length === 0) continue;
      parts.push(panel(`${row}. ${title}: ${what}`, bars, y));
      y += titleHeight + bars.length * (barHeight + barGap);
    }
  }
  const height = y + 12;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>pg-observers beside its rivals and its limits</title>
<style>${style}
</style>
${parts.join('\n')}
</svg>
`;
}

function panel(title: string, bars: readonly Figure[], top: number): string {
  const most = Math.max(...bars.flatMap(({ samples }) => samples));
  const unit = bars[0]?.unit ?? '';
  const head = `<text class="title" x="0" y="${top + 30}">${escaped(title)} <tspan class="unit">(${escaped(unit)})</tspan></text>`;
  return [head, ...bars.map((figure, i) => bar(figure, most, top + titleHeight + i * (barHeight + barGap)))].join('\n');
}

function bar({ name, role, samples }: Figure, most: number, top: number): string {
  const scale = (value: number) => labelWidth + ((width - labelWidth - valueWidth) * value) / most;
  const [middle, least, greatest] = [median(samples), Math.min(...samples), Math.max(...samples)];
  const line = top + barHeight / 2;
  const round = (value: number) => Math.round(value * 10) / 10;
  return [
    `<text x="0" y="${top + 13}">${escaped(name)}</text>`,
    `<rect class="${role}" x="${labelWidth}" y="${top}" width="${round(Math.max(1, scale(middle) - labelWidth))}" height="${barHeight}" rx="2"/>`,
    `<line class="spread" x1="${round(scale(least))}" x2="${round(scale(greatest))}" y1="${line}" y2="${line}"/>`,
    `<text class="value" x="${round(scale(greatest)) + 8}" y="${top + 13}">${number(middle)}</text>`,
  ].join('');
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string) => text.replaceAll(/[&<>"]/g, (character) => entities[character] ?? character);
