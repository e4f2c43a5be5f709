import * as fc from 'fast-check';
import type { Cursor } from './cursor';
import { alreadyKnown, type Knowledge, type Known, knows, learn } from './knowledge';
import { joinSnapshots, shows, type Snapshot } from './snapshot';

const at = (xmax: bigint): Snapshot => ({ xmax, xip: [] });
const cursor = (xmax: bigint, epoch = 'e'): Cursor => ({ epoch, snapshot: at(xmax) });
const names = ['a', 'constructor', '__proto__'];
const allTables = ['s', 't'];

interface Row {
  readonly table: string;
  /** How often the row was written anywhere; the highest stands. */
  readonly write: number;
  readonly via: string | null;
  readonly xid: bigint;
}

/** A node that writes, and reads from the others what they have not said to be superfluous. */
class Node {
  readonly rows = new Map<string, Row>();
  readonly known: Record<string, Known> = Object.create(null) as Record<string, Known>;
  xmax = 1n;

  constructor(readonly name: string) {}

  put(id: string, write: number, via: string | null): void {
    if (write <= (this.rows.get(id)?.write ?? 0)) return;
    this.rows.set(id, { table: id[0]!, write, via, xid: this.xmax++ });
  }

  /** Reads a window of `peer` over `tables`, and learns what the peer knows of the third. */
  pull(peer: Node, tables: readonly string[]): void {
    const from = this.known[peer.name]?.cursor.snapshot ?? at(0n);
    const except = alreadyKnown(peer.known, this.known, tables);
    const to = at(peer.xmax);
    for (const [id, row] of peer.rows) {
      const left =
        !tables.includes(row.table) || shows(from, row.xid) || (row.via !== null && except.includes(row.via));
      if (!left) this.put(id, row.write, peer.name);
    }
    const snapshot = joinSnapshots(from, to);
    this.known[peer.name] = { tables, cursor: { epoch: 'e', snapshot } };
    for (const [name, ours] of Object.entries(this.known)) {
      const theirs = Object.hasOwn(peer.known, name) ? peer.known[name] : undefined;
      this.known[name] = learn(ours, theirs, tables) ?? ours;
    }
  }

  /** The rows that we claim to have from `peer`, and lack. */
  falselyClaimed(peer: Node): string[] {
    const known = this.known[peer.name];
    return [...peer.rows]
      .filter(([, row]) => known?.tables.includes(row.table) && shows(known.cursor.snapshot, row.xid))
      .filter(([id, row]) => (this.rows.get(id)?.write ?? 0) < row.write)
      .map(([id]) => id);
  }
}

const who = fc.nat(2);
const action = fc.oneof(
  fc.record({ do: fc.constant('write' as const), node: who, id: fc.constantFrom('s1', 's2', 't1', 't2') }),
  fc.record({ do: fc.constant('pull' as const), node: who, other: who }),
);
const link = fc.constantFrom(['s'], ['t'], allTables);

describe('Knowledge that is passed on', () => {
  it('claims no row that is lacking, among three nodes with different tables on every link', () => {
    fc.assert(
      fc.property(
        fc.array(link, { minLength: 9, maxLength: 9 }),
        fc.array(action, { maxLength: 50, size: 'max' }),
        (links, actions) => {
          const nodes = names.map((name) => new Node(name));
          const pull = (i: number, j: number) => nodes[i]!.pull(nodes[j]!, links[3 * i + j]!);
          let writes = 0;
          for (const step of actions) {
            if (step.do === 'write') nodes[step.node]!.put(step.id, ++writes, null);
            else if (step.node !== step.other) pull(step.node, step.other);
            const lies = nodes.flatMap((node) => nodes.flatMap((peer) => node.falselyClaimed(peer)));
            if (lies.length > 0) throw new Error(`Claimed and lacking: ${lies.join()}`);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('brings every row everywhere when all links carry all tables, a ring among them', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 50, size: 'max' }), (actions) => {
        const nodes = names.map((name) => new Node(name));
        let writes = 0;
        for (const step of actions) {
          if (step.do === 'write') nodes[step.node]!.put(step.id, ++writes, null);
          else if (step.node !== step.other) nodes[step.node]!.pull(nodes[step.other]!, allTables);
        }
        for (let i = 0; i < 6; i++) nodes[i % 3]!.pull(nodes[(i + 1) % 3]!, allTables);
        const contents = nodes.map((node) => Object.fromEntries([...node.rows].map(([id, { write }]) => [id, write])));
        expect(contents[1]).toEqual(contents[0]);
        expect(contents[2]).toEqual(contents[0]);
      }),
    );
  });

  const ours: Known = { tables: ['s', 't'], cursor: cursor(10n) };

  it('moves us forward to what either has seen', () => {
    const mine: Known = { tables: ['s'], cursor: { epoch: 'e', snapshot: { xmax: 10n, xip: [4n, 7n] } } };
    const theirs: Known = { tables: ['s', 't'], cursor: { epoch: 'e', snapshot: { xmax: 9n, xip: [4n] } } };
    expect(learn(mine, theirs, ['s'])?.cursor.snapshot).toEqual({ xmax: 10n, xip: [4n] });
  });

  it.each<[string, Known | undefined, string[]]>([
    ['nothing', undefined, allTables],
    ['another incarnation', { ...ours, cursor: cursor(20n, 'f') }, allTables],
    ['fewer tables', { tables: ['s'], cursor: cursor(20n) }, allTables],
    ['nothing newer', ours, allTables],
    ['news, in a window that left out a table of ours', { ...ours, cursor: cursor(20n) }, ['s']],
  ])('gives us nothing when the sender has %s', (_, theirs, tables) => {
    expect(learn(ours, theirs, tables)).toBeNull();
  });

  it('is contained in another only with incarnation, tables and transactions', () => {
    expect(knows(ours, { tables: ['t'], cursor: cursor(9n) })).toBe(true);
    expect(knows(ours, { tables: ['u'], cursor: cursor(9n) })).toBe(false);
    expect(knows(ours, { tables: ['t'], cursor: cursor(11n) })).toBe(false);
    expect(knows(ours, { tables: ['t'], cursor: cursor(9n, 'f') })).toBe(false);
    expect(knows(undefined, ours)).toBe(false);
  });

  it('leaves out no rows of a table in which our own position says nothing', () => {
    const theirs = { c: { tables: allTables, cursor: cursor(12n) } };
    expect(alreadyKnown({ c: { tables: ['s'], cursor: cursor(10n) } }, theirs, ['s'])).toEqual(['c']);
    expect(alreadyKnown({ c: { tables: ['s'], cursor: cursor(10n) } }, theirs, allTables)).toEqual([]);
  });

  it('is not found under the name of a property that every object has', () => {
    const mine = JSON.parse('{"constructor":0,"__proto__":0,"toString":0}') as Record<string, Known>;
    for (const name of Object.keys(mine)) Object.defineProperty(mine, name, { value: ours, enumerable: true });
    const knowledge: Knowledge = mine;
    expect(alreadyKnown(knowledge, {}, [])).toEqual([]);
    expect(alreadyKnown(knowledge, knowledge, ['s']).sort()).toEqual(['__proto__', 'constructor', 'toString']);
  });
});
