import type { Failure } from './run';
import { ddlOf } from './ddl';

/** A failed history as somebody would play it by hand. */
export function tell({ schema, steps, problems }: Failure): string {
  const played = steps.map((step) => {
    if (step.do === 'write') return `${'abc'[step.node]}: ${step.statements.join(';\n   ')}`;
    if (step.do === 'decide')
      return `${'abc'[step.node]}: ${step.n === undefined ? 'discards' : `n = ${step.n} in`} its parked row ${step.nth}`;
    if (step.do === 'settle') return `${'abc'[step.node]} settles`;
    const some = step.limit ? `, at most ${step.windows} windows of ${step.limit}` : '';
    return `${'abc'[step.from]} -> ${'abc'[step.to]}${some}`;
  });
  return [
    ...problems,
    '',
    ddlOf(schema),
    ...schema.tables.map(({ name, strategy }) => `-- ${name}: ${strategy}`),
    `-- clocks ahead by ${schema.skew.join(', ')} µs; priorities ${schema.priority.join(', ')}`,
    ...played,
  ].join('\n');
}
