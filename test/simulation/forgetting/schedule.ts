import { seededRandom } from '@pgmesh/core';

/** What happens, one thing at a time. Numbers that choose among what is there are taken modulo how many there are. */
export type Step =
  | { readonly do: 'write' | 'delete'; readonly node: number; readonly row: number }
  | { readonly do: 'commit' | 'rollback' | 'collect' | 'backup' | 'restore'; readonly node: number }
  /** Falls asleep, or wakes: one that has not been awake yet joins. */
  | { readonly do: 'sleep' | 'wake'; readonly node: number }
  /** A reader asks its neighbour, or a node pushes: either way a window or a piece goes on its way. `cut`: how many transactions it has, 0 for all. */
  | { readonly do: 'send'; readonly link: number; readonly last: 'window' | 'copy'; readonly cut: number }
  /** A reader asks and merges, time and again, until there is nothing more. */
  | { readonly do: 'read'; readonly link: number }
  | { readonly do: 'arrive'; readonly nth: number; readonly again: boolean }
  | { readonly do: 'lose'; readonly nth: number }
  | { readonly do: 'gossip'; readonly link: number }
  /** The network is cut: nodes are on the side of their bit. */
  | { readonly do: 'cut'; readonly sides: number }
  /** All links that work are used once. */
  | { readonly do: 'round' }
  /** The node and those who reach it evict all others, tell each other how far they have come, and collect. */
  | { readonly do: 'forget'; readonly node: number; readonly evicts: boolean }
  | { readonly do: 'evict'; readonly node: number; readonly other: number }
  | { readonly do: 'clock'; readonly node: number; readonly by: number };

export interface Schedule {
  readonly nodes: number;
  readonly asleep: readonly number[];
  /** Who reads from whom. */
  readonly links: readonly (readonly [number, number])[];
  readonly rows: number;
  /** Whether the last write stands everywhere, so that nodes let go of what has lost to it. */
  readonly letsGo: boolean;
  readonly steps: readonly Step[];
}

type Below = (n: number) => number;

export function scheduleOf(seed: number, letsGo = false): Schedule {
  const random = seededRandom(seed);
  const below: Below = (n) => Math.floor(random() * n);
  const nodes = 2 + below(4);
  const rows = 1 + below(3);
  const all = Array.from({ length: nodes }, (_, i) => i);
  const asleep = all.filter(() => below(4) === 0);
  const rough = below(4) === 0;
  const quiet = below(3) > 0;
  const steps = Array.from({ length: 10 + below(60) }, () => stepOf(below, nodes, rough, quiet));
  return { nodes, asleep, links: linksOf(nodes, below), rows, letsGo, steps };
}

function linksOf(nodes: number, below: Below): (readonly [number, number])[] {
  const line = Array.from({ length: nodes - 1 }, (_, i) => [i, i + 1] as const);
  const full = line.flatMap(([a]) => Array.from({ length: nodes - a - 1 }, (_, i) => [a, a + 1 + i] as const));
  const pairs = [line, nodes > 2 ? [...line, [nodes - 1, 0] as const] : line, full][below(3)]!;
  return pairs.flatMap(([a, b]) => [[a, b] as const, [b, a] as const]);
}

function stepOf(below: Below, nodes: number, rough: boolean, quiet: boolean): Step {
  const node = below(nodes);
  const dice = below(100);
  if (dice < 14) return { do: 'write', node, row: below(3) };
  if (dice < 26) return { do: 'delete', node, row: below(3) };
  if (dice < 40) return { do: 'commit', node };
  if (dice < 41) return { do: 'rollback', node };
  if (dice < 50) return { do: 'round' };
  if (dice < 56) return { do: 'read', link: below(1000) };
  if (dice < 64) return { do: 'forget', node, evicts: below(2) === 0 };
  if (dice < 70) return { do: 'cut', sides: below(2) === 0 ? 0 : below(2 ** nodes) };
  if (dice < 73) return { do: below(2) === 0 ? 'sleep' : 'wake', node };
  if (dice < 75) return { do: 'clock', node, by: below(60) - 40 };
  if (dice < 78) return { do: 'gossip', link: below(1000) };
  if (dice < 80) return { do: 'collect', node };
  if (dice < 81) return { do: 'evict', node, other: below(nodes) };
  if (dice < 85 && rough) return { do: below(2) === 0 ? 'backup' : 'restore', node };
  if (quiet) return { do: 'commit', node };
  if (dice < 92)
    return { do: 'send', link: below(1000), last: below(2) === 0 ? 'window' : 'copy', cut: below(3) === 0 ? 1 : 0 };
  if (dice < 99) return { do: 'arrive', nth: below(1000), again: below(3) === 0 };
  return { do: 'lose', nth: below(1000) };
}
