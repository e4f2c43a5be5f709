// @ts-check

/**
 * One figure of the bench. A rate is judged by its ratio to the reference of the same run; a time or an amount of
 * memory by its own value, which must stay below its bound.
 * @typedef {object} Measure
 * @property {string} id
 * @property {string} line the name by which --only asks for it
 * @property {string} title
 * @property {string} unit
 * @property {'native' | 'bare' | 'before' | undefined} reference
 * @property {'ratio at least' | 'value below'} kind
 * @property {number} [floor] what must hold
 * @property {number} [goal] what is aimed at
 */

/** @param {string} id @param {string} title @param {Partial<Measure>} rest @returns {Measure} */
const rate = (id, title, rest) => ({
  id,
  line: id,
  title,
  unit: 'rows/s',
  reference: 'native',
  kind: 'ratio at least',
  ...rest,
});

/** @param {string} id @param {string} title @param {Partial<Measure>} [rest] @returns {Measure} */
const latency = (id, title, rest) => ({
  id: `latency-${id}`,
  line: 'latency',
  title: `commit to visible, ${title}`,
  unit: 'ms',
  reference: 'native',
  kind: 'value below',
  ...rest,
});

/** @param {string} id @param {string} title @param {Partial<Measure>} [rest] */
const capture = (id, title, rest) => rate(`capture-${id}`, title, { line: 'capture', reference: 'bare', ...rest });

/** @param {string} id @returns {Measure} */
const memory = (id) => ({
  id: `memory-${id}`,
  line: 'memory',
  title: `peak memory of the ${id}`,
  unit: 'MB',
  reference: undefined,
  kind: 'value below',
  floor: 300,
});

/** @type {Measure[]} */
export const measures = [
  rate('first-copy', 'first copy', { floor: 0.25, goal: 0.8 }),
  rate('big-insert', 'one transaction of inserts', { floor: 0.25, goal: 0.8 }),
  rate('big-update', 'one transaction of updates', { floor: 0.8, goal: 1.5 }),
  rate('sustained', 'single-row updates, 4 clients', { unit: 'tx/s', floor: 0.4, goal: 0.7 }),
  latency('fresh-p50', 'fresh table, p50', { floor: 10, goal: 3 }),
  latency('fresh-p99', 'fresh table, p99', { floor: 50, goal: 10 }),
  latency('fresh-max', 'fresh table, max'),
  latency('after-p50', 'after volume, p50', { floor: 10, goal: 3 }),
  latency('after-p99', 'after volume, p99', { floor: 50, goal: 10 }),
  latency('after-max', 'after volume, max'),
  capture('update', 'writer, single-row updates', { unit: 'tx/s', floor: 0.75, goal: 0.8 }),
  capture('insert', 'writer, single-row inserts', { unit: 'tx/s', floor: 0.75, goal: 0.8 }),
  capture('delete', 'writer, single-row deletes', { unit: 'tx/s', floor: 0.75, goal: 0.8 }),
  capture('statement-insert', 'writer, one large INSERT'),
  capture('statement-update', 'writer, one large UPDATE'),
  capture('statement-delete', 'writer, one large DELETE'),
  memory('source'),
  memory('receiver'),
];

/** @param {number[]} values */
export function median(values) {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * A measure with its figures: medians over the rounds, their ratio, and whether floor and goal are met (undefined where
 * there is none, or nothing was measured).
 * @typedef {Measure & { pgmesh?: number, referenceValue?: number, ratio?: number, floorMet?: boolean, goalMet?: boolean,
 *   rounds: Record<string, number[]> }} Verdict
 */

/**
 * @param {Map<string, Record<string, number[]>>} samples by measure and system
 * @param {'before'} [against] what all is compared with, in place of each measure's own reference; there are no floors then
 * @returns {Verdict[]}
 */
export function judge(samples, against) {
  return measures
    .filter(({ id }) => samples.has(id))
    .map((measure) =>
      against && measure.reference ? { ...measure, reference: against, floor: undefined, goal: undefined } : measure,
    )
    .map((measure) => {
      const rounds = samples.get(measure.id) ?? {};
      const pgmesh = median(rounds.pgmesh ?? []);
      const referenceValue = measure.reference && median(rounds[measure.reference] ?? []);
      const ratio = pgmesh !== undefined && referenceValue !== undefined ? pgmesh / referenceValue : undefined;
      const judged = measure.kind === 'value below' ? pgmesh : ratio;
      const meets = (/** @type {number | undefined} */ bound) => {
        if (bound === undefined || judged === undefined) return undefined;
        return measure.kind === 'value below' ? judged < bound : judged >= bound;
      };
      return {
        ...measure,
        pgmesh,
        referenceValue,
        ratio,
        floorMet: meets(measure.floor),
        goalMet: meets(measure.goal),
        rounds,
      };
    });
}
