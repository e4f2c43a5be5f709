import { Random } from '../convergence/random';

export const ids = ['a', 'b', 'c', 'd', 'e'] as const;
export type Id = (typeof ids)[number];

/** What befalls a link (`a -> b`: over which a dials b), a node's process or a database server, for `ms`. */
export type Trouble =
  | { readonly what: 'cut' | 'silence'; readonly link: string; readonly ms: number }
  | { readonly what: 'delay'; readonly link: string; readonly ms: number; readonly by: number }
  | { readonly what: 'throttle'; readonly link: string; readonly ms: number; readonly rate: number }
  | { readonly what: 'truncate'; readonly link: string; readonly after: number }
  | { readonly what: 'repeat'; readonly link: string }
  | { readonly what: 'kill' | 'pause'; readonly node: Id; readonly ms: number }
  | { readonly what: 'crash' | 'stall'; readonly server: Id; readonly ms: number }
  | { readonly what: 'restore'; readonly server: Id; readonly recovery: boolean; readonly ms: number };

export interface Schedule {
  readonly seed: number;
  /** As text: `a <-> b, b -> c`. */
  readonly topology: string;
  /** What happens when, in milliseconds from the beginning of the load. */
  readonly troubles: readonly { readonly at: number; readonly trouble: Trouble }[];
  /** Milliseconds of load. */
  readonly ms: number;
  /** Whether the nodes forget meanwhile what all have heard of. Else every write is to be accounted for, those that were deleted since, too. */
  readonly forgets: boolean;
}

/** A connected topology of five nodes, and what happens to it. */
export function scheduleOf(seed: number): Schedule {
  const random = new Random(seed);
  const links = topologyOf(random);
  const ms = random.between(3_000, 6_000);
  const dialled = links.flatMap((link) => directions(link));
  const troubles = random
    .times(3, 9, () => ({ at: random.between(0, ms - 500), trouble: troubleOf(random, dialled) }))
    .sort((one, other) => one.at - other.at);
  return { seed, topology: links.join(', '), troubles, ms, forgets: seed % 2 === 1 };
}

/** A tree, and a few links more; a third of them can be dialled from one side only. */
function topologyOf(random: Random): string[] {
  const order = [...ids];
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.between(0, i);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const pairs = order.slice(1).map((id, i): [Id, Id] => [order[random.between(0, i)]!, id]);
  for (let i = random.between(0, 4); i > 0; i--) {
    const [from, to] = [random.pick(ids), random.pick(ids)];
    const known = pairs.some(([a, b]) => (a === from && b === to) || (a === to && b === from));
    if (from !== to && !known) pairs.push([from, to]);
  }
  return pairs.map(([from, to]) => {
    if (random.chance(0.67)) return `${from} <-> ${to}`;
    return random.chance(0.5) ? `${from} -> ${to}` : `${to} -> ${from}`;
  });
}

function directions(link: string): string[] {
  const [from, arrow, to] = link.split(' ') as [string, string, string];
  return arrow === '<->' ? [`${from} -> ${to}`, `${to} -> ${from}`] : [link];
}

function troubleOf(random: Random, links: readonly string[]): Trouble {
  const link = random.pick(links);
  const id = random.pick(ids);
  const ms = random.between(200, 2_500);
  const kinds: readonly (() => Trouble)[] = [
    () => ({ what: 'cut', link, ms }),
    () => ({ what: 'silence', link, ms }),
    () => ({ what: 'delay', link, ms, by: random.between(5, 200) }),
    () => ({ what: 'throttle', link, ms, rate: random.between(5, 100) * 1_000 }),
    () => ({ what: 'truncate', link, after: random.between(100, 50_000) }),
    () => ({ what: 'repeat', link }),
    () => ({ what: 'kill', node: id, ms }),
    () => ({ what: 'pause', node: id, ms }),
    () => ({ what: 'crash', server: id, ms }),
    () => ({ what: 'stall', server: id, ms }),
    () => ({ what: 'restore', server: id, recovery: random.chance(0.5), ms }),
  ];
  return random.pick(kinds)();
}
