import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { plotOf } from './plot';
import { type Outcome, type Scenario, World } from './world';

const usage = `npm run simulate:mesh -- [flags]
  --nodes N     (1000)
  --links N     P2P_LINKS of all (8)
  --loss P      part of the messages that is lost, with losses (0.05)
  --churn P     part of the nodes that fails within a minute, with churn (0.1)
  --changes N   (100)
  --writers N   nodes that write (5)
  --seed N      (1)
  --plot PATH   where to write the picture (docs/mesh-simulation.svg; "none" for nowhere)`;

const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    nodes: { ...text, default: '1000' },
    links: { ...text, default: '8' },
    loss: { ...text, default: '0.05' },
    churn: { ...text, default: '0.1' },
    changes: { ...text, default: '100' },
    writers: { ...text, default: '5' },
    seed: { ...text, default: '1' },
    plot: { ...text, default: 'docs/mesh-simulation.svg' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(usage);
  process.exit(0);
}
const { plot, help: _, ...numbers } = values;
const asked = Object.fromEntries(
  Object.entries(numbers).map(([name, value]) => [name, Number(value)]),
) as unknown as Scenario;
const wrong = Object.entries(asked).find(([, value]) => !(value >= 0));
if (wrong) {
  console.error(`--${wrong[0]} takes a number, not "${numbers[wrong[0] as keyof typeof numbers]}".\n${usage}`);
  process.exit(2);
}

const percent = (part: number): string => `${Math.round(part * 1_000) / 10} %`;
const scenarios: { title: string; scenario: Scenario }[] = [
  { title: 'no losses', scenario: { ...asked, loss: 0, churn: 0 } },
  { title: `${percent(asked.loss)} lost`, scenario: { ...asked, churn: 0 } },
  { title: `${percent(asked.loss)} lost, ${percent(asked.churn)} churn`, scenario: asked },
];

const heads = ['', 'links', 'hops, mean', 'most', 'rows', 'pushes', 'questions', 'p50', 'p99', 'a change at all'];
const lines = scenarios.map(({ title, scenario }) => {
  const began = performance.now();
  const outcome = new World(scenario).run();
  console.error(`${title}: ${((performance.now() - began) / 1_000).toFixed(1)} s of computing`);
  return { title, outcome };
});

function figures({ title, outcome }: { title: string; outcome: Outcome }): string[] {
  const { arrivals, rows, pushes, questions, links, converged, scenario } = outcome;
  const steady = arrivals.filter((one) => one.steady);
  const times = steady.map(({ ms }) => ms).sort((a, b) => a - b);
  const hops = steady.map((one) => one.hops);
  const at = (part: number): string => `${Math.round(times[Math.floor(part * (times.length - 1))]!)} ms`;
  const last = Array.from({ length: scenario.changes }, () => 0);
  for (const { change, ms } of steady) last[change] = Math.max(last[change]!, ms);
  const whole = last.sort((a, b) => a - b);
  return [
    title + (converged ? '' : ' (NOT CONVERGED)'),
    `${links.mean.toFixed(1)}, at most ${links.most}`,
    (hops.reduce((sum, one) => sum + one, 0) / hops.length).toFixed(1),
    String(hops.reduce((a, b) => Math.max(a, b), 0)),
    rows.toFixed(2),
    pushes.toFixed(2),
    questions.toFixed(2),
    at(0.5),
    at(0.99),
    `${Math.round(whole[Math.floor(whole.length / 2)]!)} ms, at most ${Math.round(whole.at(-1)!)} ms`,
  ];
}

const table = [heads, heads.map(() => '---'), ...lines.map(figures)];
const caption = `${asked.nodes} nodes, ${asked.links} links each, ${asked.changes} changes by ${asked.writers} of them, 5 to 50 ms between two nodes, seed ${asked.seed}`;
console.log(`${caption}\n\n${table.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}`);
if (plot !== 'none') {
  writeFileSync(plot, plotOf(lines, caption));
  console.log(`\nwritten: ${plot}`);
}
process.exitCode = lines.every(({ outcome }) => outcome.converged) ? 0 : 1;
