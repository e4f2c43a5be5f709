/** A row as the history sees it; null when it is deleted. */
export type Row = { readonly id: string; readonly n: string; readonly note: string } | null;

/** What the engine calls a write: read from the node that made it, right after its commit. */
export interface Name {
  readonly stamp: number;
  readonly origin: string;
}

interface Write extends Name {
  readonly row: Row;
  /** All writes of this row that its writer had, and all that those had. */
  readonly seen: ReadonlySet<Write>;
}

/** A version as it must lie on every node at rest. */
export interface Expected extends Name {
  readonly past: Readonly<Record<string, number>>;
  readonly row: Row;
}

/** The writes of each row that a node has: by table and key. */
export type Holdings = ReadonlyMap<string, ReadonlySet<Write>>;

/**
 * All that was ever written, and which node had what of it when. Nothing here is merged step by step: what must stand is
 * told from the whole history.
 */
export class History {
  private written = 0;
  private drawn = 0;
  private readonly held: Map<string, Map<string, ReadonlySet<Write>>>;

  constructor(nodes: readonly string[]) {
    this.held = new Map(nodes.map((node) => [node, new Map()]));
  }

  /** A number that no row of this history has borne yet. */
  next(): number {
    return ++this.drawn;
  }

  /** A write that was committed. Returns what is wrong with the name that the engine gave it. */
  wrote(node: string, key: string, row: Row, name: Name, notBefore: number): string | null {
    const seen = this.held.get(node)!.get(key) ?? new Set<Write>();
    const write: Write = { ...name, row, seen };
    this.held.get(node)!.set(key, new Set([...seen, write]));
    this.written += 1;
    if (name.stamp < notBefore) return `${key} was written on ${node} at ${notBefore} and is stamped ${name.stamp}`;
    const later = [...seen].find(({ stamp }) => stamp >= name.stamp);
    return later ? `${key} was written on ${node} over ${later.stamp} and is stamped ${name.stamp}` : null;
  }

  /** What the node has at this moment. */
  holdings(node: string): Holdings {
    return new Map(this.held.get(node)!);
  }

  /** The node has read all that another had at some moment. */
  received(node: string, from: Holdings): void {
    const held = this.held.get(node)!;
    for (const [key, writes] of from) held.set(key, new Set([...(held.get(key) ?? []), ...writes]));
  }

  /** Whether everybody has everything. */
  isShared(): boolean {
    const sizes = [...this.held.values()].map((held) => [...held.values()].reduce((sum, { size }) => sum + size, 0));
    return sizes.every((size) => size === this.written);
  }

  /** The versions of each row that a node must have: of all writes that it has, those that no other had seen, lowest first. */
  versions(node: string): Map<string, Expected[]> {
    return new Map([...this.held.get(node)!].map(([key, writes]) => [key, standing(writes).map(toExpected)]));
  }
}

function standing(writes: ReadonlySet<Write>): Write[] {
  return [...writes]
    .filter((write) => ![...writes].some(({ seen }) => seen.has(write)))
    .sort((a, b) => a.stamp - b.stamp || (a.origin < b.origin ? -1 : 1));
}

function toExpected({ stamp, origin, row, seen }: Write): Expected {
  return { stamp, origin, row, past: pastOf(origin, seen) };
}

function pastOf(writer: string, seen: ReadonlySet<Write>): Record<string, number> {
  const past: Record<string, number> = {};
  for (const { stamp, origin } of seen) {
    if (origin !== writer) past[origin] = Math.max(past[origin] ?? 0, stamp);
  }
  return past;
}
