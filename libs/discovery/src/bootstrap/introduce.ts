/** Who is told of whom: pure. */

export interface Candidate {
  readonly nodeId: string;
  /** Empty when it cannot be dialled. */
  readonly urls: readonly string[];
}

/**
 * So many of the others that can be dialled: one's successor in the order of names, and others at random.
 *
 * Random choices alone leave somebody out now and then. The successors of all make a ring of those that can be dialled, to which
 * each of those that cannot is tied as well: once every member has asked, the graph of who was told of whom is in one piece.
 */
export function introduce<Member extends Candidate>(
  members: Iterable<Member>,
  to: string,
  count: number,
  random: () => number,
): Member[] {
  const others = [...members].filter(({ nodeId, urls }) => nodeId !== to && urls.length > 0);
  const next = successor(others, to);
  if (next === undefined || count < 1) return [];
  const rest = others.filter((member) => member !== next);
  return [next, ...sample(rest, count - 1, random)];
}

/** The first name after one's own; after the last comes the first of all. */
function successor<Member extends Candidate>(others: readonly Member[], to: string): Member | undefined {
  const first = (a: Member | undefined, b: Member): Member => (a !== undefined && a.nodeId < b.nodeId ? a : b);
  const after = others.filter(({ nodeId }) => nodeId > to);
  return (after.length > 0 ? after : others).reduce<Member | undefined>(first, undefined);
}

/** So many of them, each as likely as any other (Fisher and Yates, broken off). Shuffles its argument. */
export function sample<Item>(items: Item[], count: number, random: () => number): Item[] {
  const taken = Math.min(count, items.length);
  for (let i = 0; i < taken; i++) {
    const j = i + Math.floor(random() * (items.length - i));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items.slice(0, taken);
}
