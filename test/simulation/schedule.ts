import { seededRandom, strategyNames, type StrategyName } from '@pgmesh/core';
import type { Edit } from './model';

/** What happens, one thing at a time. Numbers that choose among what is there are taken modulo how many there are. */
export type Step =
  /** A write in the node's open transaction, which begins with it. */
  | { readonly do: 'write'; readonly node: number; readonly row: number; readonly edit: Edit }
  | { readonly do: 'commit' | 'rollback'; readonly node: number }
  /** A reader asks its neighbour, or a node pushes: either way a window goes on its way. */
  | { readonly do: 'send'; readonly link: number }
  /** A message arrives, and may stay in the network to arrive again. */
  | { readonly do: 'arrive'; readonly nth: number; readonly again: boolean }
  | { readonly do: 'lose'; readonly nth: number }
  | { readonly do: 'clock'; readonly node: number; readonly by: number }
  /** The node's process and server die: what was not committed is gone. */
  | { readonly do: 'crash'; readonly node: number }
  | { readonly do: 'backup' | 'restore'; readonly node: number }
  | { readonly do: 'rule'; readonly node: number; readonly strategy: StrategyName };

/** A mesh and what happens to it: all that a run depends on. */
export interface Schedule {
  readonly topology: string;
  readonly nodes: number;
  /** Who reads from whom: pairs, each in both directions. */
  readonly links: readonly (readonly [number, number])[];
  readonly rows: number;
  readonly strategy: StrategyName;
  readonly priorities: readonly number[];
  readonly skews: readonly number[];
  readonly steps: readonly Step[];
}

type Below = (n: number) => number;

export function scheduleOf(seed: number): Schedule {
  const random = seededRandom(seed);
  const below: Below = (n) => Math.floor(random() * n);
  // Small meshes are the most of them: there a fault is as likely, and many more of them run in a second.
  const nodes = 2 + (below(4) > 0 ? below(4) : below(11));
  const { topology, pairs } = meshOf(nodes, below);
  const rows = 1 + below(2);
  const strategy = below(2) === 0 ? 'merge-fields' : one(strategyNames, below);
  const rough = below(3) === 0;
  const kinds = one([everyEdit, everyEdit, ['member', 'remove'] as const], below);
  const steps = Array.from({ length: 10 + below(40) }, () => stepOf(below, nodes, rough, kinds));
  const each = (make: () => number) => Array.from({ length: nodes }, make);
  const priorities = each(() => below(3));
  const skews = each(() => (below(3) === 0 ? below(40) - 20 : 0));
  return {
    topology,
    nodes,
    links: pairs.flatMap(([a, b]) => [[a, b] as const, [b, a] as const]),
    rows,
    strategy,
    priorities,
    skews,
    steps,
  };
}

function meshOf(nodes: number, below: Below): { topology: string; pairs: (readonly [number, number])[] } {
  const line = Array.from({ length: nodes - 1 }, (_, i) => [i, i + 1] as const);
  const clique = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => from + i).flatMap((a) =>
      Array.from({ length: to - a - 1 }, (_, i) => [a, a + 1 + i] as const),
    );
  switch (below(4)) {
    case 0:
      return { topology: 'line', pairs: line };
    case 1:
      return { topology: 'ring', pairs: nodes > 2 ? [...line, [nodes - 1, 0]] : line };
    case 2:
      return { topology: 'star', pairs: line.map(([, leaf]) => [0, leaf] as const) };
    default: {
      const half = Math.ceil(nodes / 2);
      return {
        topology: 'cliques with a bridge',
        pairs: [...clique(0, half), [half - 1, half], ...clique(half, nodes)],
      };
    }
  }
}

function stepOf(below: Below, nodes: number, rough: boolean, kinds: readonly EditKind[]): Step {
  const node = below(nodes);
  const dice = below(100);
  if (dice < 34) return { do: 'write', node, row: below(2), edit: editOf(below, kinds) };
  if (dice < 52) return { do: 'commit', node };
  if (dice < 70) return { do: 'send', link: below(1000) };
  if (dice < 88) return { do: 'arrive', nth: below(1000), again: below(4) === 0 };
  if (dice < 90) return { do: 'lose', nth: below(1000) };
  if (dice < 91) return { do: 'rollback', node };
  if (dice < 94) return { do: 'clock', node, by: below(60) - 40 };
  if (dice < 95) return { do: 'crash', node };
  if (!rough) return { do: 'commit', node };
  if (dice < 96) return { do: 'rule', node, strategy: one(strategyNames, below) };
  return { do: below(2) === 0 ? 'backup' : 'restore', node };
}

const documents: readonly Extract<Edit, { do: 'replace' }>['doc'][] = [
  null,
  '[1, 2]',
  { x: '1.0' },
  { y: '12345678901234567890', long: '1.1' },
];

type EditKind = (typeof everyEdit)[number];
const everyEdit = ['set a', 'set a', 'set b', 'member', 'member', 'remove', 'replace', 'delete'] as const;

function editOf(below: Below, kinds: readonly EditKind[]): Edit {
  const value = String(below(4));
  const key = kinds === everyEdit ? one(['x', 'y', 'long'], below) : 'x';
  switch (one(kinds, below)) {
    case 'set a':
      return { do: 'set', column: 'a', value };
    case 'set b':
      return { do: 'set', column: 'b', value: value === '0' ? null : value };
    case 'member':
      return { do: 'member', key, value: `1.${value}` };
    case 'remove':
      return { do: 'member', key, value: null };
    case 'replace':
      return { do: 'replace', doc: one(documents, below) };
    case 'delete':
      return { do: 'delete' };
  }
}

function one<Item>(items: readonly Item[], below: Below): Item {
  return items[below(items.length)]!;
}
