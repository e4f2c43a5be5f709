import * as fc from 'fast-check';
import {
  advance,
  type CopyPoint,
  type FeedRequest,
  nextRequest,
  type Position,
  type Step,
  withoutRows,
} from './position';
import { cutSnapshot, includes, shows, type Snapshot } from './snapshot';

const epoch = 'e1';

interface Row {
  readonly table: string;
  readonly key: string;
  readonly xid: bigint;
  /** How often this row was written. */
  readonly write: number;
}

/** A database as its feed sees it: each row's last committed write, and transactions in progress that hold their rows locked. */
class Source {
  readonly rows = new Map<string, Row>();
  private readonly open = new Map<bigint, { table: string; key: string }[]>();
  private xmax = 3n;

  begin(): void {
    this.open.set(this.xmax++, []);
  }

  write(nth: number, table: string, key: string): void {
    const locked = [...this.open.values()].flat().some((row) => row.table === table && row.key === key);
    const writes = this.nth(nth)?.[1];
    if (writes && !locked) writes.push({ table, key });
  }

  end(nth: number, commits: boolean): void {
    const [xid, writes] = this.nth(nth) ?? [];
    if (xid === undefined || writes === undefined) return;
    this.open.delete(xid);
    if (!commits) return;
    for (const { table, key } of writes) {
      const id = `${table}/${key}`;
      this.rows.set(id, { table, key, xid, write: (this.rows.get(id)?.write ?? 0) + 1 });
    }
  }

  /** A transaction that begins and commits at once. */
  commit(rows: readonly { table: string; key: string }[]): void {
    this.begin();
    const last = this.open.size - 1;
    for (const { table, key } of rows) this.write(last, table, key);
    this.end(last, true);
  }

  commitAll(): void {
    while (this.open.size > 0) this.end(0, true);
  }

  snapshot(): Snapshot {
    return { xmax: this.xmax, xip: [...this.open.keys()] };
  }

  /** Answers a request with as many rows as `limit`, or with all. */
  answer(request: FeedRequest, limit: number): { step: Step; rows: Row[] } {
    const { tables } = request;
    const present = this.snapshot();
    const rows = [...this.rows.values()].filter((row) => tables.includes(row.table));
    if (request.kind === 'window') {
      const fresh = rows.filter((row) => !shows(request.from, row.xid)).sort((a, b) => Number(a.xid - b.xid));
      const last = fresh[limit]?.xid ?? present.xmax;
      const cut = fresh.find((row) => row.xid > last)?.xid ?? present.xmax;
      const to = cutSnapshot(request.from, present, cut);
      return { step: { kind: 'window', tables, from: request.from, to }, rows: fresh.filter((row) => row.xid < cut) };
    }
    const place = ({ table, key }: { table: string; key: string }) => tables.indexOf(table) * 100 + Number(key);
    const start = request.at && place({ table: request.at.table, key: request.at.after?.[0] ?? '-1' });
    const left = rows.filter((row) => start === null || place(row) > start).sort((a, b) => place(a) - place(b));
    const taken = left.slice(0, limit + 1);
    const last = taken.at(-1);
    const next: CopyPoint | null = left.length > taken.length && last ? { table: last.table, after: [last.key] } : null;
    return { step: { kind: 'copy', tables, at: request.at, to: present, next }, rows: taken };
  }

  private nth(nth: number): [bigint, { table: string; key: string }[]] | undefined {
    return [...this.open][nth % Math.max(1, this.open.size)];
  }
}

class Reader {
  readonly writes = new Map<string, number>();
  position: Position | null = null;
  last: FeedRequest['kind'] | null = null;

  request(shared: readonly string[]): FeedRequest | null {
    const request = nextRequest(this.position, epoch, shared, this.last);
    this.last = request?.kind ?? null;
    return request;
  }

  take({ step, rows }: { step: Step; rows: Row[] }): boolean {
    const moved = advance(this.position, epoch, step);
    if (moved === null) return false;
    this.position = moved;
    for (const { table, key, write } of rows) {
      const id = `${table}/${key}`;
      this.writes.set(id, Math.max(write, this.writes.get(id) ?? 0));
    }
    return true;
  }

  /** No row whose last write the reader claims to know may be lacking. */
  mustNotLie(source: Source): void {
    const { position } = this;
    const lies = [...source.rows.values()].filter(
      (row) =>
        position?.tables.includes(row.table) &&
        shows(position.snapshot, row.xid) &&
        (this.writes.get(`${row.table}/${row.key}`) ?? 0) < row.write,
    );
    if (lies.length > 0) throw new Error(`Claimed and lacking: ${lies.map((row) => row.table + row.key).join()}`);
  }
}

const tables = ['a', 'b', 'c'];
const row = { table: fc.constantFrom(...tables), key: fc.nat(5).map(String) };
const of = <T extends string, R extends object>(
  weight: number,
  what: T,
  rest: { [K in keyof R]: fc.Arbitrary<R[K]> },
) => ({
  weight,
  arbitrary: fc.record(rest).map((values) => ({ do: what, ...(values as R) })),
});
const action = fc.oneof(
  of(6, 'commit', { rows: fc.array(fc.record(row), { maxLength: 4 }) }),
  of(2, 'begin', {}),
  of(4, 'write', { nth: fc.nat(5), ...row }),
  of(2, 'end', { nth: fc.nat(5), commits: fc.boolean() }),
  of(8, 'ask', { limit: fc.nat(6), late: fc.boolean() }),
  of(5, 'arrive', { nth: fc.nat(20) }),
  of(3, 'push', { tables: fc.subarray(tables), since: fc.nat(20) }),
  of(1, 'share', { tables: fc.subarray(tables) }),
);

/** A source with rows in every table, so that copies take several pieces. */
function filled(): Source {
  const source = new Source();
  source.commit(tables.flatMap((table) => [0, 1, 2, 3, 4, 5].map((key) => ({ table, key: `${key}` }))));
  return source;
}

/** Lets all that is under way end, and the reader read on, undisturbed, until it stands where the source does. */
function readToTheEnd(source: Source, reader: Reader, shared: readonly string[]): void {
  source.commitAll();
  for (let round = 0; round < 200; round++) {
    const { position } = reader;
    const followed = position !== null && shared.every((table) => position.tables.includes(table));
    if (followed && includes(position.snapshot, source.snapshot())) return;
    const request = reader.request(shared);
    if (request === null) return;
    expect(reader.take(source.answer(request, 2))).toBe(true);
    reader.mustNotLie(source);
  }
  throw new Error('The reader does not reach the end of the feed');
}

describe('A reader of a feed', () => {
  it('claims no row that it lacks and ends with all, whatever is cut, late, repeated, shared later or given up', () => {
    fc.assert(
      fc.property(fc.array(action, { minLength: 20, maxLength: 100, size: 'max' }), (actions) => {
        const source = filled();
        const reader = new Reader();
        const marks: Snapshot[] = [];
        const sent: { step: Step; rows: Row[] }[] = [];
        let shared: readonly string[] = ['a', 'b'];
        for (const step of actions) {
          if (step.do === 'begin') source.begin();
          if (step.do === 'commit') source.commit(step.rows);
          if (step.do === 'write') source.write(step.nth, step.table, step.key);
          if (step.do === 'end') source.end(step.nth, step.commits);
          if (step.do === 'share') shared = step.tables;
          marks.push(source.snapshot());
          if (step.do === 'push') {
            const from = marks[step.since % marks.length]!;
            sent.push(source.answer({ kind: 'window', tables: step.tables, from }, 5));
            reader.take(sent.at(-1)!);
          }
          if (step.do === 'arrive' && sent.length > 0) reader.take(sent[step.nth % sent.length]!);
          if (step.do === 'ask') {
            const request = reader.request(shared);
            if (request === null) continue;
            const answer = source.answer(request, step.limit);
            sent.push(answer);
            if (!step.late) expect(reader.take(answer)).toBe(true);
          }
          reader.mustNotLie(source);
        }
        readToTheEnd(source, reader, tables);
        for (const [id, row] of source.rows) expect(reader.writes.get(id)).toBe(row.write);
      }),
      { numRuns: 800 },
    );
  });

  const at = (xmax: bigint): Snapshot => ({ xmax, xip: [] });
  const following: Position = {
    epoch,
    tables: ['a'],
    snapshot: at(10n),
    complete: at(10n),
    reached: at(10n),
    copy: null,
  };
  const point: CopyPoint = { table: 'b', after: ['5'] };
  const copying: Position = { ...following, copy: { tables: ['b'], since: at(12n), next: point } };

  it('stays where it is when a window arrives twice', () => {
    const window: Step = { kind: 'window', tables: ['a'], from: at(10n), to: at(14n) };
    const once = advance(following, epoch, window);
    expect(once).toEqual({ ...following, snapshot: at(14n), complete: at(14n), reached: at(14n) });
    expect(advance(once, epoch, window)).toEqual(once);
  });

  it('goes on behind a window that was cut, and claims no more than it had: a row may have been written again since', () => {
    const cut: Step = { kind: 'window', tables: ['a'], from: at(10n), to: at(14n), partial: true };
    const inside = advance(following, epoch, cut);
    expect(inside).toEqual({ ...following, snapshot: at(14n), reached: at(14n) });
    const rest: Step = { kind: 'window', tables: ['a'], from: at(14n), to: at(20n) };
    expect(advance(inside, epoch, rest)?.complete).toEqual(at(20n));
  });

  it('goes back to where all of a table was here when that was left off in the middle', () => {
    const both: Position = { ...following, tables: ['a', 'b'] };
    const cut = advance(both, epoch, { kind: 'window', tables: ['a', 'b'], from: at(10n), to: at(14n), partial: true });
    const without = advance(cut, epoch, { kind: 'window', tables: ['a'], from: at(14n), to: at(20n) });
    expect(without?.left).toEqual({ b: at(10n) });
    const again = nextRequest(without, epoch, ['a', 'b'], 'window');
    expect(again).toEqual({ kind: 'window', tables: ['a', 'b'], from: at(10n) });
  });

  it('keeps the tables that a repeated window did not cover', () => {
    const both = { ...following, tables: ['a', 'b'] };
    expect(advance(both, epoch, { kind: 'window', tables: ['a'], from: at(5n), to: at(9n) })).toEqual(both);
  });

  it('refuses a window that starts after it', () => {
    expect(advance(following, epoch, { kind: 'window', tables: ['a'], from: at(11n), to: at(14n) })).toBeNull();
  });

  it('refuses a window before its first copy ended', () => {
    expect(advance(null, epoch, { kind: 'window', tables: ['a'], from: at(0n), to: at(14n) })).toBeNull();
  });

  it.each<[string, Partial<Step & { kind: 'copy' }>]>([
    ['another place', { at: { table: 'b', after: ['4'] } }],
    ['another table', { at: { table: 'a', after: ['5'] } }],
    ['the beginning of its table', { at: { table: 'b', after: null } }],
    ['fewer tables', { tables: [] }],
    ['more tables', { tables: ['b', 'c'] }],
  ])('refuses a later piece of a copy that is of %s', (_, change) => {
    const piece: Step = { kind: 'copy', tables: ['b'], at: point, to: at(15n), next: null, ...change };
    expect(advance(copying, epoch, piece)).toBeNull();
  });

  it('goes back to the start of a copy when that ends, for the stream was not read over those tables', () => {
    const piece: Step = { kind: 'copy', tables: ['b'], at: point, to: at(30n), next: null };
    const ahead = { ...copying, snapshot: at(25n) };
    expect(advance(ahead, epoch, piece)).toEqual({
      epoch,
      tables: ['a', 'b'],
      snapshot: at(12n),
      complete: at(10n),
      reached: at(30n),
      copy: null,
    });
  });

  it('claims no more than each piece had seen when one was read before a first piece that was repeated', () => {
    const restarted = { ...copying, copy: { ...copying.copy!, since: at(20n) } };
    const late: Step = { kind: 'copy', tables: ['b'], at: point, to: at(15n), next: { table: 'b', after: ['9'] } };
    expect(advance(restarted, epoch, late)?.copy?.since).toEqual(at(15n));
  });

  it('goes back to where a table was left off when that comes again, and copies nothing', () => {
    const both: Position = { ...following, tables: ['a', 'b'] };
    const without = advance(both, epoch, { kind: 'window', tables: ['a'], from: at(10n), to: at(20n) });
    const to20 = { snapshot: at(20n), complete: at(20n), reached: at(20n) };
    expect(without).toEqual({ ...following, ...to20, left: { b: at(10n) } });
    const further = advance(without, epoch, { kind: 'window', tables: ['a'], from: at(20n), to: at(30n) });
    expect(further?.left).toEqual({ b: at(10n) });
    expect(nextRequest(further, epoch, ['a'], 'window')).toEqual({ kind: 'window', tables: ['a'], from: at(30n) });
    const again = nextRequest(further, epoch, ['a', 'b'], 'window');
    expect(again).toEqual({ kind: 'window', tables: ['a', 'b'], from: at(10n) });
    expect(advance(further, epoch, { kind: 'window', tables: ['a', 'b'], from: at(10n), to: at(15n) })).toEqual({
      ...both,
      snapshot: at(15n),
      complete: at(15n),
      reached: at(30n),
    });
    // From a sender that does not know of it: good for the other table.
    const ahead: Step = { kind: 'window', tables: ['a', 'b'], from: at(30n), to: at(40n) };
    expect(advance(further, epoch, ahead)).toEqual({
      ...further,
      snapshot: at(40n),
      complete: at(40n),
      reached: at(40n),
    });
    const copied: Step = { kind: 'copy', tables: ['b'], at: null, to: at(35n), next: null };
    expect(advance(further, epoch, copied)).toEqual({
      ...both,
      snapshot: at(30n),
      complete: at(30n),
      reached: at(35n),
    });
  });

  it('takes nothing from a first piece that is repeated after its copy ended', () => {
    expect(advance(following, epoch, { kind: 'copy', tables: ['a'], at: null, to: at(8n), next: point })).toBeNull();
    expect(advance(following, epoch, { kind: 'copy', tables: ['a'], at: null, to: at(8n), next: null })).toBeNull();
  });

  it('begins anew with a feed of another epoch', () => {
    expect(nextRequest(copying, 'e2', ['a', 'b'], null)).toEqual({ kind: 'copy', tables: ['a', 'b'], at: null });
    expect(advance(copying, 'e2', { kind: 'copy', tables: ['b'], at: point, to: at(15n), next: null })).toBeNull();
  });

  it('asks in turn for the stream and the copy', () => {
    const window = { kind: 'window', tables: ['a'], from: at(10n) };
    const copy = { kind: 'copy', tables: ['b'], at: point };
    expect(nextRequest(copying, epoch, ['a', 'b'], null)).toEqual(copy);
    expect(nextRequest(copying, epoch, ['a', 'b'], 'copy')).toEqual(window);
    expect(nextRequest(copying, epoch, ['a', 'b'], 'window')).toEqual(copy);
    expect(nextRequest(copying, epoch, [], 'window')).toBeNull();
  });

  it('gives up a copy of which a table is shared no more, and copies what is left from its start', () => {
    const two: Position = { ...copying, copy: { ...copying.copy!, tables: ['b', 'c'] } };
    expect(nextRequest(two, epoch, ['a', 'c'], 'window')).toEqual({ kind: 'copy', tables: ['c'], at: null });
    const first: Step = { kind: 'copy', tables: ['c'], at: null, to: at(15n), next: null };
    expect(advance(two, epoch, first)).toEqual({
      epoch,
      tables: ['a', 'c'],
      snapshot: at(10n),
      complete: at(10n),
      reached: at(15n),
      copy: null,
    });
  });
});

it('a step without rows adds nothing to what has been reached, unless it is of an incarnation of which rows may be here', () => {
  const at = (xmax: bigint): Snapshot => ({ xmax, xip: [] });
  const piece: Step = { kind: 'copy', tables: ['a'], at: null, to: at(9n), next: null };
  const reachedBy = (before: Position | null) => withoutRows(before, advance(before, epoch, piece)!).reached;
  const other = { tables: ['a'], snapshot: at(5n), complete: at(5n), reached: at(3n), copy: null };
  expect(reachedBy(null)).toEqual(at(0n));
  expect(reachedBy({ ...other, tables: ['b'], epoch })).toEqual(at(3n));
  expect(reachedBy({ ...other, epoch: 'e2' })).toEqual(at(9n));
});
