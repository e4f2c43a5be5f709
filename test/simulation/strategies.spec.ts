import * as core from '@pgmesh/core';
import * as fc from 'fast-check';
import { History, nothing, type Replica } from './history';
import type { Edit } from './model';

const nodes = 4;
const at = fc.nat(nodes - 1);
const value = fc.constantFrom('0', '1', '2', '3');
const edits: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ do: fc.constant('set' as const), column: fc.constantFrom('a' as const, 'b' as const), value }),
  fc.record({
    do: fc.constant('member' as const),
    key: fc.constantFrom('x', 'y', 'long'),
    value: fc.option(value),
  }),
  fc.record({
    do: fc.constant('replace' as const),
    doc: fc.constantFrom(null, '[1]', { x: '1.0' }, { x: '1.00', y: '2' }),
  }),
  fc.constant({ do: 'delete' as const }),
);
const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('write' as const), node: at, now: fc.integer({ min: 1, max: 15 }), edit: edits }),
    fc.record({ do: fc.constant('send' as const), from: at, to: at }),
  ),
  { minLength: 4, maxLength: 24, size: 'max' },
);
type Steps = typeof steps extends fc.Arbitrary<infer S> ? S : never;

/** Plays a history and gives what was ever there to be sent: every state that a node had. */
function play(history: History, played: Steps, strategy: core.StrategyName): Replica[] {
  const replicas = Array.from({ length: nodes }, () => nothing);
  const ever: Replica[] = [];
  for (const step of played) {
    const to = step.do === 'write' ? step.node : step.to;
    replicas[to] =
      step.do === 'write'
        ? (history.write(replicas[to]!, { origin: `n${to}`, priority: to % 2, now: step.now }, step.edit, strategy) ??
          replicas[to]!)
        : history.merge(replicas[to]!, replicas[step.from]!);
    ever.push(replicas[to]!);
  }
  return ever.filter(({ known }) => known !== 0n);
}

function permutations<Item>(items: readonly Item[]): Item[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map((rest) => [item, ...rest]));
}

describe.each(core.strategyNames)('Under %s', (strategy) => {
  /** What the oracle says after all has arrived, and the metadata that everybody must have then. */
  const outcome = (history: History, replica: Replica) => {
    history.check(replica, strategy);
    return JSON.stringify([replica.state, history.show(replica.state, strategy)]);
  };

  it('every delivery, in any order, grouping and number, ends with the row and the metadata of the definition', () => {
    fc.assert(
      fc.property(steps, fc.infiniteStream(fc.nat()), (played, chance) => {
        const history = new History(core, 'r');
        const ever = play(history, played, strategy);
        if (ever.length === 0) return;
        const whole = ever.reduce((a, b) => history.merge(a, b));
        const expected = outcome(history, whole);
        for (let run = 0; run < 6; run++) {
          // Groups of groups: what is merged may be what was merged before, and comes again.
          const heap = [...ever];
          while (heap.length > 1) {
            const [a, b] = [take(heap, next(chance)), take(heap, next(chance))];
            heap.push(history.merge(a, b));
            if (next(chance) % 4 === 0 && heap.length < 60) heap.push(a);
          }
          expect(outcome(history, heap[0]!)).toBe(expected);
          expect(outcome(history, history.merge(heap[0]!, whole))).toBe(expected);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('all orders of the concurrent versions show one row, also when the set itself is turned about', () => {
    fc.assert(
      fc.property(steps, (played) => {
        const history = new History(core, 'r');
        const whole = play(history, played, strategy).reduce((a, b) => history.merge(a, b), nothing);
        const few = whole.state.slice(0, 4);
        if (few.length < 2) return;
        const shown = JSON.stringify(history.show(few, strategy));
        for (const order of permutations(few)) {
          expect(JSON.stringify(history.show(order, strategy))).toBe(shown);
          const arrived = order.reduce<core.RowState>((state, version) => core.mergeStates(state, [version]), []);
          expect(arrived).toEqual(few);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('a write over what stands covers the whole set', () => {
    fc.assert(
      fc.property(steps, edits, (played, edit) => {
        const history = new History(core, 'r');
        const whole = play(history, played, strategy).reduce((a, b) => history.merge(a, b), nothing);
        const after = history.write(whole, { origin: 'n9', priority: 0, now: 1 }, edit, strategy);
        if (after === null) return;
        expect(after.state).toHaveLength(1);
        expect(core.mergeStates(whole.state, after.state)).toEqual(after.state);
        expect(core.soundFields(after.state[0]!)).toBe(true);
        history.check(after, strategy);
      }),
      { numRuns: 150 },
    );
  });
});

it('only merge-fields makes field stamps', () => {
  fc.assert(
    fc.property(
      steps,
      fc.constantFrom(...core.strategyNames.filter((name) => name !== 'merge-fields')),
      (played, name) => {
        const history = new History(core, 'r');
        for (const { state } of play(history, played, name))
          expect(state.every((version) => !('fields' in version))).toBe(true);
      },
    ),
  );
});

function take<Item>(heap: Item[], n: number): Item {
  return heap.splice(n % heap.length, 1)[0]!;
}

function next(chance: Iterator<number>): number {
  return chance.next().value as number;
}
