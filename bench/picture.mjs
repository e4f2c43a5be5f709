// @ts-check
import { bound, figure } from './report.mjs';

const width = 930;
const labels = 270;
const bars = 380;
const rowHeight = 26;

/** @param {string} text */
const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Both schemes from one file: the viewer's own preference chooses. */
const style = `
  .page { fill: #ffffff } text { font: 12px system-ui, sans-serif; fill: #24292f } .head { font-weight: 600; font-size: 14px }
  .quiet { fill: #57606a } .met { fill: #2f81c7 } .missed { fill: #d1652b } .unjudged { fill: #8c959f } .track { fill: #eef1f4 }
  .floor { stroke: #24292f; stroke-width: 2 } .goal { stroke: #24292f; stroke-width: 2; stroke-dasharray: 3 2 }
  .one { stroke: #8c959f; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .quiet { fill: #9198a1 } .track { fill: #1c2430 }
    .met { fill: #4a9be8 } .missed { fill: #f0883e } .unjudged { fill: #6e7681 } .floor, .goal { stroke: #e6edf3 }
  }`;

/**
 * One panel: a bar a measure, with a solid mark at its floor and a dashed one at its goal.
 * @param {object} panel
 * @param {string} panel.title
 * @param {{ verdict: import('./measures.mjs').Verdict, value: number, floor?: number, goal?: number, text: string }[]} panel.rows
 * @param {number} panel.end what the right edge stands for
 * @param {number} top
 */
function drawPanel({ title, rows, end }, top) {
  const x = (/** @type {number} */ value) => labels + (Math.min(value, end) / end) * bars;
  const mark = (/** @type {string} */ name, /** @type {number | undefined} */ value, /** @type {number} */ y) =>
    value === undefined ? '' : `<line class="${name}" x1="${x(value)}" x2="${x(value)}" y1="${y - 2}" y2="${y + 18}"/>`;
  const drawn = rows.map(({ verdict, value, floor, goal, text }, i) => {
    const y = top + 18 + i * rowHeight;
    const state = verdict.floorMet === undefined ? 'unjudged' : verdict.floorMet ? 'met' : 'missed';
    return `<text x="${labels - 10}" y="${y + 12}" text-anchor="end">${escape(verdict.title)}</text>
  <rect class="track" x="${labels}" y="${y}" width="${bars}" height="16" rx="2"/>
  <rect class="${state}" x="${labels}" y="${y}" width="${Math.max(1, x(value) - labels).toFixed(1)}" height="16" rx="2"/>
  ${mark('floor', floor, y)}${mark('goal', goal, y)}
  <text x="${labels + bars + 10}" y="${y + 12}">${escape(text)}</text>`;
  });
  const bottom = top + 18 + rows.length * rowHeight;
  const one = end > 1 ? `<line class="one" x1="${x(1)}" x2="${x(1)}" y1="${top + 12}" y2="${bottom - 6}"/>` : '';
  return { svg: `<text class="head" x="16" y="${top}">${escape(title)}</text>\n${drawn.join('\n')}\n${one}`, bottom };
}

/** @param {import('./measures.mjs').Verdict[]} verdicts @param {string} caption */
export function drawPicture(verdicts, caption) {
  const rates = verdicts.flatMap((verdict) => {
    if (verdict.kind !== 'ratio at least' || verdict.ratio === undefined) return [];
    const { ratio, floor, goal, floorMet, pgmesh, unit, reference } = verdict;
    const missed = floorMet === false ? ', floor missed' : '';
    return [
      {
        verdict,
        value: ratio,
        floor,
        goal,
        text: `${ratio.toFixed(2)} of ${reference}: ${figure(pgmesh)} ${unit}${missed}`,
      },
    ];
  });
  const limits = verdicts.flatMap((verdict) => {
    const { kind, pgmesh, floor, goal, floorMet, unit } = verdict;
    if (kind !== 'value below' || pgmesh === undefined || floor === undefined) return [];
    const text = `${figure(pgmesh)} ${unit}, allowed ${bound(verdict, floor)}${floorMet ? '' : ': missed'}`;
    return [{ verdict, value: pgmesh / floor, floor: 1, goal: goal && goal / floor, text }];
  });
  const panels = [
    { title: 'Rates, as a ratio to the reference: further right is better', rows: rates },
    { title: 'Latency and memory, as a share of what is allowed: further left is better', rows: limits },
  ].filter(({ rows }) => rows.length > 0);

  let top = 66;
  const parts = [];
  for (const panel of panels) {
    const end = Math.max(1.2, ...panel.rows.flatMap(({ value, goal = 0 }) => [Math.min(value, 3), goal])) * 1.05;
    const { svg, bottom } = drawPanel({ ...panel, end }, top);
    parts.push(svg);
    top = bottom + 34;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top - 14}" viewBox="0 0 ${width} ${top - 14}" role="img">
<title>pgmesh beside PostgreSQL's logical replication</title>
<style>${style}</style>
<rect class="page" width="100%" height="100%"/>
<text class="quiet" x="16" y="22">${escape(caption)}</text>
<text class="quiet" x="16" y="40">solid mark: the floor · dashed mark: the goal · thin line: 1, as fast as the reference, or all that is allowed</text>
${parts.join('\n')}
</svg>
`;
}
