import type { Failure } from './run';
import { ddlOf } from './ddl';

/** A failed history as somebody would play it by hand. */
export function tell({ schema, steps, problems }: Failure): string {
  const played = steps.map((step) => {
    if (step.do === 'write') return `${'abc'[step.node]}: ${step.statements.join(';\n   ')}`;
    if (step.do === 'decide')
      return `${'abc'[step.node]}: ${step.n === undefined ? 'discards' : `n = ${step.n} in`} its parked row ${step.nth}`;
    if (step.do === 'rule') return `${'abc'[step.node]}: ${step.change.table}=${step.change.strategy}`;
    if (step.do === 'settle') return `${'abc'[step.node]} settles`;
    if (step.do === 'check') return `${'abc'[step.node]} is looked at`;
    if (step.do === 'wait') return `${'abc'[step.node]} has looked after what it has parked`;
    const some = step.limit ? `, at most ${step.windows} windows of ${step.limit}` : '';
    return `${'abc'[step.from]} -> ${'abc'[step.to]}${some}`;
  });
  return [
    ...problems,
    '',
    ddlOf(schema),
    ...schema.tables.map(({ name, strategy }) => `-- ${name}: ${strategy}`),
    `-- clocks ahead by ${schema.skew.join(', ')} µs, in steps of ${schema.grain} µs; priorities ${schema.priority.join(', ')}`,
    ...played,
  ].join('\n');
}
