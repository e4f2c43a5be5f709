import type { Failure } from './run';
import { ddlOf } from './schema';

/** A failed history as somebody would play it by hand. */
export function tell({ schema, steps, problems }: Failure): string {
  const played = steps.map((step) => {
    if (step.do === 'write') return `${'abc'[step.node]}: ${step.statements.join(';\n   ')}`;
    return step.do === 'pull' ? `${'abc'[step.from]} -> ${'abc'[step.to]}` : `${'abc'[step.node]} settles`;
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
