import type { Outcome } from './world';

const width = 860;
const height = 380;
const [left, right, top, bottom] = [70, 30, 70, 60];
const style = `
  .page { fill: #ffffff } text { font: 12px system-ui, sans-serif; fill: #24292f } .quiet { fill: #57606a } .head { font-weight: 600; font-size: 14px }
  .grid { stroke: #d0d7de; stroke-width: 1 } .line { fill: none; stroke-width: 2 }
  .s0 { stroke: #2f81c7 } .s1 { stroke: #d1652b } .s2 { stroke: #6f42c1 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .quiet { fill: #9198a1 } .grid { stroke: #30363d }
    .s0 { stroke: #4a9be8 } .s1 { stroke: #f0883e } .s2 { stroke: #a371f7 }
  }`;

/** By when which part of the nodes had a change: a line for each outcome, over a logarithmic axis. */
export function plotOf(
  outcomes: readonly { readonly title: string; readonly outcome: Outcome }[],
  caption: string,
): string {
  const [least, most] = [10, 100_000];
  const x = (ms: number): number =>
    left + ((width - left - right) * Math.log(Math.max(ms, least) / least)) / Math.log(most / least);
  const y = (part: number): number => height - bottom - (height - top - bottom) * part;
  const ticks = [10, 100, 1_000, 10_000, 100_000];
  const parts = [0, 0.25, 0.5, 0.75, 1];
  const grid = [
    ...ticks.map(
      (ms) => `<line class="grid" x1="${x(ms)}" x2="${x(ms)}" y1="${y(0)}" y2="${y(1)}"/>
<text x="${x(ms)}" y="${y(0) + 18}" text-anchor="middle">${ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`}</text>`,
    ),
    ...parts.map(
      (part) => `<line class="grid" x1="${left}" x2="${width - right}" y1="${y(part)}" y2="${y(part)}"/>
<text x="${left - 8}" y="${y(part) + 4}" text-anchor="end">${part * 100} %</text>`,
    ),
  ];
  const lines = outcomes.map(({ title, outcome }, i) => {
    const { nodes, changes } = outcome.scenario;
    const times = outcome.arrivals.map(({ ms }) => ms).sort((a, b) => a - b);
    const all = changes * (nodes - 1);
    const steps = Array.from({ length: 200 }, (_, step) => Math.floor(((step + 1) / 200) * (times.length - 1)));
    const points = steps.map((at) => `${x(times[at]!).toFixed(1)},${y((at + 1) / all).toFixed(1)}`);
    const key = 46 + 18 * i;
    return `<polyline class="line s${i}" points="${points.join(' ')}"/>
<line class="line s${i}" x1="${width - 250}" x2="${width - 226}" y1="${key + 60}" y2="${key + 60}"/>
<text x="${width - 220}" y="${key + 64}">${title}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>When changes reach the nodes of a simulated mesh</title>
<style>${style}</style>
<rect class="page" width="100%" height="100%"/>
<text class="head" x="16" y="24">Part of the nodes that have a change, by the time since it was written</text>
<text class="quiet" x="16" y="44">${caption}</text>
${[...grid, ...lines].join('\n')}
</svg>
`;
}
