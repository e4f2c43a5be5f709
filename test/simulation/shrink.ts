import type { Schedule } from './schedule';

/** A schedule that still fails and has nothing to leave out: whole stretches of steps first, then single ones. */
export function shrink(schedule: Schedule, fails: (candidate: Schedule) => boolean): Schedule {
  let smallest = schedule;
  for (let stretch = Math.ceil(schedule.steps.length / 2); stretch >= 1;) {
    let left = false;
    for (let at = 0; at < smallest.steps.length;) {
      const candidate = { ...smallest, steps: smallest.steps.toSpliced(at, stretch) };
      if (fails(candidate)) [smallest, left] = [candidate, true];
      else at += stretch;
    }
    if (stretch > 1) stretch = Math.floor(stretch / 2);
    else if (!left) return smallest;
  }
  return smallest;
}

/** A schedule as a person reads it, one step a line. */
export function tell({ topology, nodes, strategy, rows, skews, priorities, steps }: Schedule): string {
  const head = `${topology} of ${nodes}, ${rows} row(s), ${strategy}, clocks ${skews.join(' ')}, priorities ${priorities.join(' ')}`;
  return [head, ...steps.map((step, i) => `  ${String(i).padStart(2)} ${tellStep(step)}`)].join('\n');
}

function tellStep(step: Schedule['steps'][number]): string {
  switch (step.do) {
    case 'write':
      return `n${step.node} writes row ${step.row}: ${JSON.stringify(step.edit)}`;
    case 'send':
      return `a window is sent (link ${step.link})`;
    case 'arrive':
      return `a message arrives (${step.nth})${step.again ? ', and will again' : ''}`;
    case 'lose':
      return `a message is lost (${step.nth})`;
    case 'clock':
      return `the clock of n${step.node} moves by ${step.by}`;
    case 'rule':
      return `n${step.node} goes by ${step.strategy}`;
    default:
      return `n${step.node}: ${step.do}`;
  }
}
