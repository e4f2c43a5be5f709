// @ts-check

/** @param {number | undefined} value */
export function figure(value) {
  if (value === undefined) return '–';
  if (value >= 1_000) return Math.round(value).toLocaleString('en');
  return value.toPrecision(value >= 100 ? 3 : 2);
}

/** @param {boolean | undefined} met */
const verdict = (met) => (met === undefined ? '' : met ? 'met' : 'NOT MET');

/** @param {import('./measures.mjs').Measure} measure @param {number | undefined} bound */
export function bound({ kind, unit }, bound) {
  if (bound === undefined) return '';
  return kind === 'value below' ? `< ${bound} ${unit}` : `≥ ${bound}`;
}

const columns = ['line', 'unit', 'pgmesh', 'reference', '', 'ratio', 'floor', '', 'goal', ''];
const rightAligned = new Set([2, 3, 5]);

/** @param {import('./measures.mjs').Verdict[]} verdicts */
export function reportTable(verdicts) {
  const cells = verdicts.map((v) => [
    v.title,
    v.unit,
    figure(v.pgmesh),
    figure(v.referenceValue),
    v.reference ?? '',
    v.ratio === undefined ? '–' : v.ratio.toFixed(2),
    bound(v, v.floor),
    verdict(v.floorMet),
    bound(v, v.goal),
    verdict(v.goalMet),
  ]);
  const widths = columns.map((head, i) => Math.max(head.length, ...cells.map((row) => row[i].length)));
  const line = (/** @type {string[]} */ row) =>
    row
      .map((cell, i) => (rightAligned.has(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join('  ')
      .trimEnd();
  return [line(columns), widths.map((width) => '─'.repeat(width)).join('──'), ...cells.map(line)].join('\n');
}

/** @param {import('./measures.mjs').Verdict[]} verdicts */
export function summary(verdicts) {
  const judged = verdicts.filter((v) => v.floorMet !== undefined);
  const missed = judged.filter((v) => !v.floorMet).map((v) => v.title);
  if (judged.length === 0) return 'no floor could be judged: pgmesh and its reference were not both measured';
  return missed.length === 0
    ? `all ${judged.length} floors that were measured are met`
    : `${missed.length} of ${judged.length} floors are not met: ${missed.join('; ')}`;
}
