import {
  advance,
  beginning,
  constraintsDigest,
  cutSnapshot,
  defaultRules,
  type DigestedForm,
  feedName,
  type FeedRequest,
  formDigest,
  formatSnapshot,
  type HeldRow,
  type Knowledge,
  joinSeen,
  type Known,
  learn,
  mergeStates,
  nextStamp,
  highestStamp,
  pastOfWrite,
  type Position,
  type RowState,
  type Rules,
  type RowVersion,
  sameState,
  type Seen,
  seenOf,
  shows,
  type Slot,
  type Snapshot,
  withoutRows,
  withoutTransactions,
} from '@pgmesh/core';
import {
  type EndFrame,
  type Frame,
  fromWireKnowledge,
  fromWireSeen,
  Problem,
  protocolVersion,
  type RowsFrame,
  toWireKnowledge,
  toWireSeen,
  type WindowFrame,
  stepOf,
} from '@pgmesh/wire';
import type {
  Applied,
  ConflictNote,
  Feed,
  FeedOptions,
  Identity,
  Inbox,
  InTouch,
  Later,
  Members,
  OutgoingWindow,
  Store,
  SyncHistory,
  SyncRecord,
} from '../src/ports';
import { type HeldTable, MemoryDigests } from './memory-digests';
import { MemoryMembers } from './memory-members';

interface Row {
  readonly state: RowState;
  /** Which peer it came by; null for a row last written here. */
  readonly via: string | null;
  readonly xid: bigint;
  /** The origin's transaction, where one version came by a peer. */
  readonly written: bigint | null;
}

interface SentRow {
  readonly key: string;
  readonly state: RowState;
  readonly written: string | null;
}

/** Whom a window is for, as far as its rows go. */
interface Skipped {
  readonly except: readonly string[];
  readonly seen: Seen;
  readonly later: Later | null;
}

/**
 * A node's database made of core's row states, in memory: the ports' second implementation, for simulating meshes.
 * Transactions are atomic and one after another, so that a snapshot is a number.
 */
export class MemoryStore implements Store {
  readonly identity: Identity;
  readonly feed: Feed = {
    open: (request, options) => this.#open(request, options),
    onNews: (listener) => this.#onNews(listener),
  };
  readonly inbox: Inbox = {
    apply: (frames, inTouch = () => null) => this.#inTurn(() => this.#apply(frames, inTouch)),
    position: async (node) => this.#positions.get(node) ?? null,
    knowledge: async () => this.#knowledge(),
    seen: async () => this.#seenNow(),
    copyAnew: async () => false,
  };
  readonly digests = new MemoryDigests(
    (table) => this.#heldTable(table),
    () => formatSnapshot(this.#present()),
  );
  readonly members: Members = new MemoryMembers(() => this.#claimed());
  readonly leads = true;
  /** Its tables take every row. */
  readonly onParking = () => () => undefined;
  readonly collect = async () => ({});
  readonly tombstones = async () => [];
  readonly history: SyncHistory;
  rules: Rules = defaultRules;
  slot: Slot | null = null;
  readonly records: SyncRecord[] = [];
  /** Rows that arrived here, by where from, whether they changed anything or not. */
  readonly arrived: { from: string; key: string }[] = [];
  /** Windows that are open: none may be left so. */
  openWindows = 0;
  /** Thrown by the next applies. */
  refusal: Error | null = null;
  /** A table of which no window is taken. */
  altered: string | null = null;
  readonly #tables: string[];
  readonly #rows = new Map<string, Map<string, Row>>();
  readonly #positions = new Map<string, Position>();
  #seen: Seen = {};
  readonly #listeners = new Set<() => void>();
  readonly #formListeners = new Set<() => void>();
  #forms: ReadonlyMap<string, DigestedForm>;
  #nextXid = 1n;
  #conflicts = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(nodeId: string, tables: readonly string[], epoch = 'e1') {
    this.identity = { nodeId, epoch };
    this.#tables = [...tables].sort();
    this.#forms = new Map(tables.map((table) => [table, formOf(['value'])]));
    for (const table of tables) this.#rows.set(table, new Map());
    this.history = {
      add: async (record) => void this.records.push(record),
      list: async (limit) => this.records.slice(-limit).reverse(),
    };
  }

  references(): [] {
    return [];
  }

  tables(): readonly string[] {
    return this.#tables;
  }

  forms(): ReadonlyMap<string, DigestedForm> {
    return this.#forms;
  }

  async refreshForms(): Promise<void> {}

  onForms(listener: () => void): () => void {
    this.#formListeners.add(listener);
    return () => this.#formListeners.delete(listener);
  }

  /** Another set of columns beside the key; rows of others are taken as if they had them. */
  alter(table: string, ...columns: readonly string[]): void {
    this.#forms = new Map([...this.#forms, [table, formOf(columns)]]);
    for (const listener of [...this.#formListeners]) listener();
  }

  /** Other constraints, which nothing here looks after. */
  constrain(table: string, ...constraints: readonly string[]): void {
    const told = { ...this.#forms.get(table)!, constraints, constraintsDigest: constraintsDigest(constraints) };
    this.#forms = new Map([...this.#forms, [table, told]]);
    for (const listener of [...this.#formListeners]) listener();
  }

  /** A local write, in a transaction of its own; null deletes. */
  write(table: string, key: string, value: string | null): void {
    const xid = this.#nextXid++;
    const rows = this.#rowsOf(table);
    const state = rows.get(key)?.state ?? [];
    const origin = `${this.identity.nodeId}~${this.identity.epoch}`;
    const version: RowVersion = {
      stamp: nextStamp(Date.now() * 1000, highestStamp(state)),
      origin,
      priority: 0,
      past: pastOfWrite(state, origin),
      deleted: value === null,
      image: value === null ? null : { key, value },
    };
    rows.set(key, { state: [version], via: null, xid, written: null });
    this.#tell();
  }

  /** All row states, for comparing nodes. */
  contents(): Record<string, Record<string, RowState>> {
    const sorted = (rows: Map<string, Row>): [string, RowState][] =>
      [...rows].map(([key, { state }]): [string, RowState] => [key, state]).sort(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries([...this.#rows].map(([table, rows]) => [table, Object.fromEntries(sorted(rows))]));
  }

  /** What a restored backup is: the rows of another database, none of its positions, another incarnation. */
  restoredAs(epoch: string): MemoryStore {
    const restored = new MemoryStore(this.identity.nodeId, this.#tables, epoch);
    for (const [table, rows] of this.#rows) {
      for (const [key, { state }] of rows)
        restored.#rowsOf(table).set(key, { state, via: null, xid: restored.#nextXid++, written: null });
    }
    return restored;
  }

  /** Each claim is of the present; whether it is worth one, `MemoryMembers` asks. */
  #claimed(): { epoch: string; nodeId: string; tables: readonly string[]; snapshot: Snapshot; known: Knowledge } {
    const { nodeId, epoch } = this.identity;
    const last = [...this.#rows.values()].flatMap((rows) => [...rows.values()].map(({ xid }) => xid));
    const xmax = last.reduce((highest, xid) => (xid >= highest ? xid + 1n : highest), 1n);
    return { nodeId, epoch, tables: this.#tables, snapshot: { xmax, xip: [] }, known: this.#knowledge() };
  }

  #rowsOf(table: string): Map<string, Row> {
    const rows = this.#rows.get(table);
    if (!rows) throw new RangeError(`No table ${table}`);
    return rows;
  }

  #present(): Snapshot {
    return { xmax: this.#nextXid, xip: [] };
  }

  #onNews(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(): void {
    setImmediate(() => {
      for (const listener of [...this.#listeners]) listener();
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** A node from which a copy is under way is not known: its rows go beyond its position. */
  #knowledge(): Knowledge {
    const known = [...this.#positions].filter(([, { copy, tables }]) => copy === null && tables.length > 0);
    return Object.fromEntries(
      known.map(([node, { epoch, complete: snapshot, reached, tables }]): [string, Known] => [
        node,
        { cursor: { epoch, snapshot }, tables, reached },
      ]),
    );
  }

  #seenNow(): Seen {
    return joinSeen(this.#seen, seenOf(this.#knowledge(), this.#tables));
  }

  /** Whether the reader has it, or need not be sent it. */
  #isKnown({ via, state, written }: Row, { except, seen }: Skipped): boolean {
    if (via === null) return false;
    const snapshot = state.length === 1 ? seen[state[0]!.origin] : undefined;
    return except.includes(via) || (snapshot !== undefined && written !== null && shows(snapshot, written));
  }

  #isExpected({ via, state }: Row, { later }: Skipped): boolean {
    if (via === null || later === null) return false;
    const origins = state.map(({ origin }) => origin);
    return (
      later.nodes.some((node) => node === via || origins[0]!.startsWith(`${node}~`)) ||
      later.origins.includes(origins[0]!)
    );
  }

  async #open(
    request: FeedRequest,
    { except: judge, seen = {}, later = null, limit }: FeedOptions,
  ): Promise<OutgoingWindow> {
    const skipped = { except: judge(this.#knowledge()), seen, later };
    const found =
      request.kind === 'window' ? this.#readWindow(request, skipped, limit) : this.#readPiece(request, skipped, limit);
    return this.#opened(found);
  }

  #heldTable(table: string): HeldTable {
    const rows = this.#rowsOf(table);
    const found = (keys: readonly string[]) =>
      keys.flatMap((key) => (rows.has(key) ? [{ table, key, row: rows.get(key)! }] : []));
    const at = formatSnapshot(beginning);
    const head = { kind: 'window' as const, from: at, to: at, more: true, tables: [table], at: null, next: null };
    return {
      rows: () => [...rows].map(([key, { state }]) => heldOf(key, state)),
      open: async (keys) => {
        const reached = formatSnapshot(this.#present());
        return this.#opened({ ...nothingHeld, head: { ...head, reached }, rows: found(keys) });
      },
      rewrite: (key) => this.write(table, key, rows.get(key)!.state.at(-1)!.image?.value ?? null),
    };
  }

  #opened(found: Found): OutgoingWindow {
    const { nodeId, epoch } = this.identity;
    const isWhole = found.head.kind === 'window' && !found.head.more;
    const feed = feedName(nodeId, epoch);
    const own = found.held ? { [feed]: this.#present() } : {};
    const head: WindowFrame = {
      ...{ type: 'window', protocol: protocolVersion, node: nodeId, epoch },
      ...found.head,
      ...(found.held && { held: true }),
      ...{ knowledge: toWireKnowledge(this.#knowledge()), guards: {}, whole: [] },
      ...(isWhole && { seen: toWireSeen(without(joinSeen(this.#seenNow(), own), found.origins)) }),
    };
    const end: EndFrame = { type: 'end', rows: found.rows.length };
    const frames = [head, ...rowsFrames(found.rows, feed), end];
    let closed = false;
    this.openWindows += 1;
    const close = async (): Promise<void> => {
      if (!closed) this.openWindows -= 1;
      closed = true;
    };
    return {
      head,
      rows: found.rows.length,
      own: found.rows.filter(({ row }) => row.via === null).length,
      held: found.held,
      overdue: found.overdue,
      end: this.#nextXid,
      frames: async function* () {
        for (const frame of frames) {
          if (closed) throw new Error('The window is closed');
          yield frame;
        }
        await close();
      },
      close,
    };
  }

  #readWindow({ tables, from }: FeedRequest & { kind: 'window' }, skipped: Skipped, limit: number): Found {
    const lacking = tables
      .flatMap((table) => [...this.#rowsOf(table)].map(([key, row]) => ({ table, key, row })))
      .filter(({ row }) => !shows(from, row.xid) && !this.#isKnown(row, skipped))
      .sort((a, b) => (a.row.xid < b.row.xid ? -1 : 1));
    const [waiting, urgent] = [true, false].map((is) =>
      lacking.filter(({ row }) => this.#isExpected(row, skipped) === is),
    ) as [FoundRow[], FoundRow[]];
    const isDue = ({ row }: FoundRow): boolean => row.xid < skipped.later!.from;
    const all = [...urgent, ...waiting.filter(isDue)].sort((a, b) => (a.row.xid < b.row.xid ? -1 : 1));
    const held = waiting.filter((one) => !isDue(one));
    const shown = withoutTransactions(
      this.#present(),
      held.map(({ row }) => row.xid),
    );
    const cut =
      all.length > limit ? all.find(({ row }, i) => i >= limit && row.xid !== all[i - 1]!.row.xid) : undefined;
    const rows = cut ? all.filter(({ row }) => row.xid < cut.row.xid) : all;
    const upTo = (present: Snapshot) => formatSnapshot(cut ? cutSnapshot(from, present, cut.row.xid) : present);
    const head = {
      kind: 'window' as const,
      from: formatSnapshot(from),
      to: upTo(shown),
      reached: upTo(this.#present()),
      more: cut !== undefined,
      tables,
      at: null,
      next: null,
    };
    const originsOf = (found: FoundRow[]): string[] =>
      found.flatMap(({ row }) => row.state.map(({ origin }) => origin));
    const covered = held.flatMap(({ row }) => row.state.flatMap(({ past }) => Object.keys(past)));
    return {
      head,
      rows,
      held: held.length > 0,
      origins: [...originsOf(held), ...covered],
      overdue: [...new Set(originsOf(waiting.filter(isDue)))],
    };
  }

  #readPiece({ tables, at }: FeedRequest & { kind: 'copy' }, skipped: Skipped, limit: number): Found {
    const ordered = [...tables].sort();
    const all = ordered.slice(at ? ordered.indexOf(at.table) : 0).flatMap((table) =>
      [...this.#rowsOf(table)]
        .map(([key, row]) => ({ table, key, row }))
        .filter(({ key }) => !(at?.table === table && at.after !== null && key <= at.after[0]!))
        .sort((a, b) => (a.key < b.key ? -1 : 1)),
    );
    const piece = all.slice(0, limit);
    const last = piece.at(-1);
    const to = formatSnapshot(this.#present());
    const head = {
      kind: 'copy' as const,
      from: to,
      to,
      more: all.length > limit,
      tables,
      at,
      next: all.length > limit && last ? { table: last.table, after: [last.key] } : null,
    };
    const rows = piece.filter(({ row }) => !this.#isKnown(row, skipped));
    return { ...nothingHeld, head, rows };
  }

  async #apply(frames: AsyncIterable<Frame>, inTouch: InTouch): Promise<Applied> {
    const all: Frame[] = [];
    for await (const frame of frames) all.push(frame);
    const [head, end] = [all[0], all.at(-1)];
    if (head?.type !== 'window' || end?.type !== 'end') throw new Error('The window was cut off');
    if (this.refusal) throw this.refusal;
    if (this.altered !== null && head.tables.includes(this.altered)) {
      throw new Problem('unknown_column', `The window has a column of ${this.altered} that is not here.`, {
        table: this.altered,
        column: 'colour',
      });
    }
    const before = this.#positions.get(head.node) ?? null;
    const position = advance(before, head.epoch, stepOf(head));
    if (position === null) return { outcome: 'gap', head, position: before };

    if (before !== null && before.epoch !== head.epoch) this.#forgetWay(head.node);
    const xid = this.#nextXid++;
    const changes: Record<string, number> = {};
    const noted: ConflictNote[] = [];
    const repeated = new Set<string>();
    for (const frame of all) {
      if (frame.type !== 'rows') continue;
      for (const { key, state, written } of JSON.parse(frame.literals[0]!) as SentRow[]) {
        this.arrived.push({ from: head.node, key: `${frame.table}/${key}/${state.map(({ stamp }) => stamp).join()}` });
        const rows = this.#rowsOf(frame.table);
        const known = rows.get(key)?.state ?? [];
        const merged = mergeStates(known, state);
        if (sameState(known, state)) for (const { origin } of state) repeated.add(origin);
        if (sameState(known, merged)) continue;
        if (merged.length > 1) noted.push(this.#noteOf(frame.table, key, merged));
        // What we made of two states is ours to tell: to leave it out for the sender would keep our part of it from them.
        const asSent = sameState(merged, state);
        rows.set(key, {
          state: merged,
          via: asSent ? head.node : null,
          xid,
          written: asSent && written !== null ? BigInt(written) : null,
        });
        changes[frame.table] = (changes[frame.table] ?? 0) + 1;
      }
    }
    this.#positions.set(head.node, end.rows === 0 ? withoutRows(before, position) : position);
    const whole = head.tables.filter((table) => position.tables.includes(table));
    if (head.seen && this.#tables.every((table) => whole.includes(table))) {
      this.#seen = joinSeen(this.#seen, fromWireSeen(head.seen));
    }
    if (head.kind === 'window' && !head.more && !head.held) {
      this.#learn(fromWireKnowledge(head.knowledge), head, inTouch);
    }
    this.#tell();
    const changed = Object.values(changes).reduce((sum, rows) => sum + rows, 0);
    return {
      outcome: 'applied',
      head,
      rows: end.rows,
      changed,
      conflicts: noted.length,
      noted,
      tables: changes,
      repeated: [...repeated],
      position,
    };
  }

  #noteOf(table: string, key: string, state: RowState): ConflictNote {
    const { stamp, origin } = state.at(-1)!;
    const winner = { stamp, origin, node_id: origin.split('~')[0]!, composed: false };
    const rule = { strategy: 'last-write-wins', resolver: null, prefix: null };
    return { id: ++this.#conflicts, table, key: { key }, rule, decided_by: rule.strategy, open: null, winner };
  }

  /** What came by way of a former incarnation of a node need not be there any more. */
  #forgetWay(node: string): void {
    for (const rows of this.#rows.values()) {
      for (const [key, row] of rows) if (row.via === node) rows.set(key, { ...row, via: null });
    }
  }

  #learn(theirs: Knowledge, { node: sender, tables }: WindowFrame, inTouch: InTouch): void {
    const held = this.#positions.get(sender)!.tables.filter((table) => tables.includes(table));
    for (const [node, known] of Object.entries(theirs)) {
      if (node === sender || node === this.identity.nodeId) continue;
      const ours = this.#positions.get(node) ?? null;
      const learned = learn(ours, known, held, inTouch(node));
      if (learned && ours && learned.epoch !== ours.epoch) this.#forgetWay(node);
      if (learned) this.#positions.set(node, learned);
    }
  }
}

function heldOf(key: string, state: RowState): HeldRow {
  const { stamp, origin, past, deleted, image } = state.at(-1)!;
  const names = state.map((one) => `${one.stamp}@${one.origin}`).join();
  const several = state.length > 1;
  const version = { stamp, origin, past, deleted, several, composed: false, names };
  return { key: [key], digest: JSON.stringify(state), value: image && JSON.stringify(image), version, untouched: true };
}

function formOf(columns: readonly string[]): DigestedForm {
  const text = { type: 'text', base: 'text', generated: false, more: '' };
  const form = {
    key: ['key'],
    columns: ['key', ...columns].map((name) => ({ ...text, name, optional: name !== 'key' })),
  };
  return { form, digest: formDigest(form), constraints: [], constraintsDigest: constraintsDigest([]) };
}

interface FoundRow {
  readonly table: string;
  readonly key: string;
  readonly row: Row;
}

/** What a window's head says of its rows. */
type FoundHead = Omit<WindowFrame, 'type' | 'protocol' | 'node' | 'epoch' | 'knowledge' | 'guards' | 'whole'>;

interface Found {
  readonly head: FoundHead;
  readonly rows: readonly FoundRow[];
  readonly held: boolean;
  /** The origins of what was held back, and of what had been. */
  readonly origins: readonly string[];
  readonly overdue: readonly string[];
}

const nothingHeld = { held: false, origins: [], overdue: [] } as const;

function without(seen: Seen, origins: readonly string[]): Seen {
  return Object.fromEntries(Object.entries(seen).filter(([origin]) => !origins.includes(origin)));
}

function rowsFrames(found: readonly FoundRow[], self: string): RowsFrame[] {
  return [...new Set(found.map(({ table }) => table))].map((table) => {
    const rows = found.filter((one) => one.table === table).map(({ key, row }): SentRow => sent(key, row, self));
    return { type: 'rows', table, columns: ['key'], count: rows.length, deleted: 0, literals: [JSON.stringify(rows)] };
  });
}

function sent(key: string, { state, via, xid, written }: Row, self: string): SentRow {
  const own = via === null && state.length === 1 && state[0]!.origin === self ? xid : written;
  return { key, state, written: own === null ? null : String(own) };
}
