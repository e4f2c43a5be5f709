import * as fc from 'fast-check';
import type { Cursor } from './cursor';
import { alreadyKnown, feedName, type Knowledge, type Known, knows, learn } from './knowledge';
import { advance, type FeedRequest, nextRequest, type Position, type Step } from './position';
import { beginning, shows, type Snapshot } from './snapshot';

const at = (xmax: bigint): Snapshot => ({ xmax, xip: [] });
const cursor = (xmax: bigint, epoch = 'e'): Cursor => ({ epoch, snapshot: at(xmax) });
const names = ['a', 'constructor', '__proto__', 'd'];
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
  rows = new Map<string, Row>();
  positions: Record<string, Position> = Object.create(null) as Record<string, Position>;
  xmax = 1n;
  epoch = 'e0';
  /** What stood where at the end of former incarnations. */
  readonly past = new Map<string, ReadonlyMap<string, Row>>();
  backup: Pick<Node, 'rows' | 'positions' | 'xmax'> | null = null;

  constructor(readonly name: string) {}

  get known(): Record<string, Known> {
    const known = Object.create(null) as Record<string, Known>;
    for (const [name, { epoch, tables, snapshot, reached }] of Object.entries(this.positions)) {
      if (tables.length > 0) known[name] = { cursor: { epoch, snapshot }, tables, reached };
    }
    return known;
  }

  put(id: string, write: number, via: string | null): void {
    if (write <= (this.rows.get(id)?.write ?? 0)) return;
    this.rows.set(id, { table: id[0]!, write, via, xid: this.xmax++ });
  }

  /** Takes a step in `peer`'s feed, over `tables`; from a complete window it learns what the peer knows of the others. */
  step(peer: Node, tables: readonly string[], last: FeedRequest['kind']): void {
    const request = nextRequest(this.positions[peer.name] ?? null, peer.epoch, tables, last)!;
    const except = alreadyKnown(peer.known, this.known, request.tables).map((name) =>
      feedName(name, peer.positions[name]!.epoch),
    );
    const to = at(peer.xmax);
    const [table] = request.tables;
    const pieces = request.kind === 'copy' ? [...request.tables].sort() : [];
    const piece = request.kind === 'copy' ? (request.at?.table ?? pieces[0]!) : table!;
    const next = pieces[pieces.indexOf(piece) + 1];
    for (const [id, row] of peer.rows) {
      const isAsked =
        request.kind === 'copy'
          ? row.table === piece
          : request.tables.includes(row.table) && !shows(request.from, row.xid);
      if (isAsked && !(row.via !== null && except.includes(row.via))) {
        this.put(id, row.write, feedName(peer.name, peer.epoch));
      }
    }
    const step: Step =
      request.kind === 'copy'
        ? { ...request, to, next: next === undefined ? null : { table: next, after: null } }
        : { ...request, to };
    this.xmax++;
    const position = advance(this.positions[peer.name] ?? null, peer.epoch, step)!;
    this.positions = Object.assign(Object.create(null), this.positions, { [peer.name]: position });
    if (request.kind === 'window') this.learnFrom(peer, request.tables, position);
  }

  private learnFrom(peer: Node, covered: readonly string[], position: Position): void {
    const tables = covered.filter((table) => position.tables.includes(table));
    for (const [name, theirs] of Object.entries(peer.known)) {
      if (name === this.name || name === peer.name) continue;
      const learned = learn(this.positions[name] ?? null, theirs, tables);
      if (learned) this.positions[name] = learned;
    }
  }

  save(): void {
    this.backup = { rows: new Map(this.rows), positions: this.positions, xmax: this.xmax };
  }

  /** Goes on from the backup, under another incarnation. */
  restore(): void {
    if (this.backup === null) return;
    this.past.set(this.epoch, this.rows);
    this.rows = new Map([...this.backup.rows].map(([id, row]) => [id, { ...row, xid: 1n }]));
    this.positions = this.backup.positions;
    this.xmax = 2n;
    this.epoch = `e${this.past.size}`;
  }

  /** The rows that we claim to have from `peer`, and lack. */
  falselyClaimed(peer: Node): string[] {
    const known = this.known[peer.name];
    const rows = known?.cursor.epoch === peer.epoch ? peer.rows : peer.past.get(known?.cursor.epoch ?? '');
    return [...(rows ?? [])]
      .filter(([, row]) => known!.tables.includes(row.table) && shows(known!.cursor.snapshot, row.xid))
      .filter(([id, row]) => (this.rows.get(id)?.write ?? 0) < row.write)
      .map(([id]) => id);
  }
}

const nodes = 4;
const who = fc.nat(nodes - 1);
const tablesOf = fc.constantFrom(['s'], ['t'], allTables, allTables);
const writing = fc.record({
  do: fc.constant('write' as const),
  node: who,
  id: fc.constantFrom('s1', 's2', 't1', 't2'),
});
const reading = fc.record({
  do: fc.constant('step' as const),
  node: who,
  other: who,
  tables: tablesOf,
  last: fc.constantFrom('copy' as const, 'window' as const),
});
const saving = fc.record({ do: fc.constantFrom('save' as const, 'restore' as const), node: who });
const action = fc.oneof(
  { weight: 3, arbitrary: writing },
  { weight: 8, arbitrary: reading },
  { weight: 1, arbitrary: saving },
);

/** Runs a history, with a look at all claims after every step. */
function run(actions: readonly (typeof action extends fc.Arbitrary<infer A> ? A : never)[]): Node[] {
  const all = names.map((name) => new Node(name));
  let writes = 0;
  for (const action of actions) {
    const node = all[action.node]!;
    if (action.do === 'write') node.put(action.id, ++writes, null);
    else if (action.do === 'save') node.save();
    else if (action.do === 'restore') node.restore();
    else if (action.do === 'step' && action.node !== action.other)
      node.step(all[action.other]!, action.tables, action.last);
    const lies = all.flatMap((one) => all.filter((peer) => peer !== one).flatMap((peer) => one.falselyClaimed(peer)));
    if (lies.length > 0) throw new Error(`Claimed and lacking: ${lies.join()}`);
  }
  return all;
}

describe('Knowledge that is passed on', () => {
  it('claims no row that is lacking: with other tables at every step, copies in pieces, and nodes that are set back', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60, size: 'max' }), (actions) => void run(actions)),
      { numRuns: 1_500 },
    );
  });

  it('brings every row everywhere, a ring among them', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60, size: 'max' }), (actions) => {
        const all = run(actions);
        for (let i = 0; i < 12 * nodes; i++) {
          all[i % nodes]!.step(all[(i + 1) % nodes]!, allTables, i % 3 === 0 ? 'window' : 'copy');
        }
        const contents = all.map((node) => Object.fromEntries([...node.rows].map(([id, { write }]) => [id, write])));
        for (const one of contents) expect(one).toEqual(contents[0]);
      }),
      { numRuns: 300 },
    );
  });

  it('names every node of a line to every other, so that a new link starts with the stream', () => {
    const [a, b, c] = names.map((name) => new Node(name)) as [Node, Node, Node];
    a.put('s1', 1, null);
    for (let i = 0; i < 4; i++) {
      b.step(a, allTables, i % 2 ? 'copy' : 'window');
      c.step(b, allTables, i % 2 ? 'copy' : 'window');
    }
    expect(nextRequest(c.positions[a.name]!, a.epoch, allTables, null)).toMatchObject({ kind: 'window', from: at(2n) });
    expect(c.known[a.name]!.reached).toEqual(beginning);
  });

  const ours: Known = { tables: ['s', 't'], cursor: cursor(10n) };

  const standing: Position = {
    epoch: 'e',
    tables: allTables,
    snapshot: at(10n),
    complete: at(10n),
    reached: at(10n),
    copy: null,
  };

  it('moves us forward to what either has seen', () => {
    const snapshot = { xmax: 10n, xip: [4n, 7n] };
    const mine: Position = { ...standing, tables: ['s'], snapshot, complete: snapshot };
    const theirs: Known = { tables: ['s', 't'], cursor: { epoch: 'e', snapshot: { xmax: 9n, xip: [4n] } } };
    expect(learn(mine, theirs, ['s'])?.snapshot).toEqual({ xmax: 10n, xip: [4n] });
  });

  it('tells us of what windows that were cut have brought only in part', () => {
    const cut: Position = { ...standing, complete: at(4n) };
    expect(learn(cut, { tables: allTables, cursor: cursor(8n) }, allTables)).toEqual({ ...cut, complete: at(8n) });
    expect(learn(cut, { tables: allTables, cursor: cursor(10n) }, allTables)).toEqual(standing);
  });

  it.each<[string, Known, string[]]>([
    ['an earlier incarnation', { ...ours, cursor: cursor(20n, 'd') }, allTables],
    ['fewer tables', { tables: ['s'], cursor: cursor(20n) }, allTables],
    ['nothing newer', ours, allTables],
    ['news, in a window that left out a table of ours', { ...ours, cursor: cursor(20n) }, ['s']],
  ])('gives us nothing when the sender has %s', (_, theirs, tables) => {
    expect(learn(standing, theirs, tables)).toBeNull();
  });

  it('of a later incarnation takes the place of what we have, unless the earlier one talks to us', () => {
    const theirs: Known = { tables: ['s'], cursor: cursor(3n, 'f') };
    const learned = { epoch: 'f', tables: ['s'], snapshot: at(3n), complete: at(3n), reached: at(0n), copy: null };
    expect(learn(standing, theirs, allTables)).toEqual(learned);
    expect(learn(standing, theirs, allTables, 'f')).toEqual(learned);
    expect(learn(standing, theirs, allTables, 'e')).toBeNull();
  });

  it('ends a copy, and brings tables that were left off back, where others have come further', () => {
    const theirs: Known = { tables: allTables, cursor: cursor(20n) };
    const copy = { tables: ['t'], since: at(12n), next: { table: 't', after: null } };
    const copying: Position = { ...standing, tables: ['s'], copy };
    const to20 = { snapshot: at(20n), complete: at(20n) };
    const done = { ...standing, ...to20 };
    expect(learn(copying, theirs, allTables)).toEqual(done);
    expect(learn(copying, theirs, ['s'])).toEqual({ ...copying, ...to20 });
    expect(learn({ ...standing, tables: ['s'], left: { t: at(5n) } }, theirs, allTables)).toEqual(done);
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
