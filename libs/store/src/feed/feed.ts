import {
  beginning,
  feedName,
  type FeedRequest,
  formatCursor,
  formatSnapshot,
  type Guards,
  type Knowledge,
  meets,
  sameSnapshot,
  type Seen,
  type Snapshot,
} from '@pgmesh/core';
import {
  type Frame,
  Problem,
  protocolVersion,
  toWireGuards,
  toWireSeen,
  type WindowFrame,
  type WireKnowledge,
  type WireSeen,
} from '@pgmesh/wire';
import type { Pool, PoolClient } from 'pg';
import { rethrowAway, sqlState } from '../database';
import { toGuards } from '../forgetting/guards';
import { isShapeChange, type Shapes } from '../shapes';
import { assertShapes, ShapeChanged, type TableShape } from '../table-shape';
import { estimateRows, planPiece } from './copy-plan';
import { flushed } from './durable';
import { type Later, type LeftOut, nothingLeftOut } from './left-out';
import {
  beginWindow,
  boundsOf,
  copyRows,
  findCut,
  findHeld,
  fitsColumns,
  type Present,
  probe,
  readColumns,
  versionsOf,
  versionsWithin,
  windowBytes,
} from './window-reader';

/** A window that is about to be sent. It holds a snapshot of the database open until it was read or closed. */
export interface OpenWindow {
  readonly head: WindowFrame;
  readonly rows: number;
  readonly own: number;
  /** Whether rows were held back, and of which origins rows were sent that had been. */
  readonly held: boolean;
  readonly overdue: readonly string[];
  /** Transactions from here on were not seen. */
  readonly end: bigint;
  frames(): AsyncIterable<Frame>;
  close(): Promise<void>;
}

export interface FeedOptions {
  /** Judges, by what we knew in the window's snapshot, of which nodes the reader has all rows already. */
  readonly except: (ours: Knowledge) => readonly string[];
  /** Of which transactions of which origins it has every write. */
  readonly seen?: Seen;
  /** What others are expected to bring it: such rows are held back, as if their transactions were in progress. */
  readonly later?: Later | null;
  readonly limit: number;
  /** What the reader knows of all feeds; nothing unless given. */
  readonly reader?: Knowledge;
}

/** A transaction that a window is about to be read in. */
interface Opening {
  readonly client: PoolClient;
  readonly shapes: readonly TableShape[];
  readonly present: Snapshot;
  readonly knowledge: Knowledge;
  readonly unflushed: string | null;
  readonly seen: Seen;
  readonly leftOut: LeftOut;
  readonly limit: number;
  readonly guards: ReadonlyMap<string, Guards>;
  readonly reader: Knowledge;
}

/** One table's rows of a window that is open: as columns where they are few and small, as a stream of COPY text otherwise. */
interface Part {
  readonly shape: TableShape;
  readonly columns: ((client: PoolClient, budget: number) => ReturnType<typeof readColumns>) | null;
  readonly versions: string;
}

/** What a window's head tells of what was read. */
type Span = Pick<WindowFrame, 'kind' | 'more' | 'held' | 'at' | 'next' | 'whole' | 'extent' | 'seen'> &
  Readonly<Record<'from' | 'to' | 'reached', Snapshot>>;

/** What no window has, and a piece does. */
const window = { kind: 'window', at: null, next: null, whole: [] } as const;

const attempts = 4;

/** Our own changes, read in windows (invariant 2). */
export class PostgresFeed {
  constructor(
    private readonly pool: Pool,
    /** For work beside the windows. */
    private readonly ordinary: Pool,
    private readonly identity: { readonly nodeId: string; readonly epoch: string },
    private readonly shapes: Shapes,
    /** Called when a live row is missing in its table: makes tombstones where it really is gone. */
    private readonly mend: (shape: TableShape, fromXid: bigint) => Promise<void>,
    private readonly listen: (listener: () => void) => () => void,
  ) {}

  onNews(listener: () => void): () => void {
    return this.listen(listener);
  }

  async open(request: FeedRequest, options: FeedOptions): Promise<OpenWindow> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.tryOpen(request, options);
      } catch (error) {
        if (attempt === attempts || !isShapeChange(sqlState(error), String(error))) return rethrowAway(error);
        await this.shapes.refresh();
      }
    }
  }

  private async tryOpen(request: FeedRequest, options: FeedOptions): Promise<OpenWindow> {
    const shapes = request.tables.flatMap((name) => this.shapes.get(name) ?? []);
    const client = await this.pool.connect();
    try {
      const present = await beginWindow(client, this.shapes.names);
      const { knowledge } = present;
      const feeds = options.except(knowledge).flatMap((node) => {
        const known = knowledge[node];
        return known ? [feedName(node, known.cursor.epoch)] : [];
      });
      const { limit, reader = {}, seen = {}, later = null } = options;
      const opening = this.opening(client, shapes, present, { leftOut: { feeds, seen, later }, limit, reader });
      return await (request.kind === 'window'
        ? this.openWindow(opening, request.from)
        : this.openPiece(opening, request));
    } catch (error) {
      await rollback(client);
      throw error;
    }
  }

  /** The rows of these keys alone, in a window that connects wherever its reader stands, and moves nobody's position. */
  async openRows(table: string, keys: readonly (readonly string[])[]): Promise<OpenWindow> {
    const shapes = [this.shapes.get(table) ?? []].flat();
    const client = await this.pool.connect().catch(rethrowAway);
    try {
      const present = await beginWindow(client, this.shapes.names);
      const options = { leftOut: nothingLeftOut, limit: keys.length, reader: {} };
      const opening = this.opening(client, shapes, present, options);
      // Our present is what they may be of; it is told where they are not yet read, for others to be sent them all the same.
      const bounds = { from: beginning, to: beginning, reached: present.snapshot, more: true };
      const head = this.head(opening, { ...window, ...bounds });
      const parts = shapes.map((shape) => ({ shape, columns: null, versions: versionsOf(shape, keys) }));
      return this.outgoing(opening, head, parts, { rows: keys.length, own: keys.length }, present.snapshot.xmax);
    } catch (error) {
      await rollback(client);
      throw error;
    }
  }

  private async openWindow(opening: Opening, from: Snapshot) {
    const { client, shapes, present, seen, limit } = opening;
    if (from.xmax > present.xmax) {
      throw new Problem(
        'cloned_node',
        `The cursor lies ahead of the transactions of ${this.identity.nodeId} (${formatSnapshot(from)}): its database was set back, or is a copy. ` +
          `Stop it and give it a name of its own: pgmesh new-incarnation.`,
      );
    }
    this.assertKept(opening, from);
    const held = await findHeld(client, shapes, from, opening.leftOut);
    const leftOut = held ? opening.leftOut : { ...opening.leftOut, later: null };
    const found = await probe(client, shapes, from, leftOut, limit);
    const cut = await findCut(client, found.tables, from, leftOut, limit);
    const { bounds, to, reached } = boundsOf(from, present, cut, held ?? undefined);
    const parts = found.tables.map(({ shape, count }) => ({
      shape,
      columns: fitsColumns(count)
        ? (reader: PoolClient, budget: number) => readColumns(reader, shape, bounds, leftOut, budget)
        : null,
      versions: versionsWithin(shape, bounds, leftOut),
    }));
    const isHeld = (held?.transactions.length ?? 0) > 0;
    // Of a window that holds nothing back it follows. Else others would bring its reader what we wrote, for it could not tell that it has it.
    const own = feedName(this.identity.nodeId, this.identity.epoch);
    const told = isHeld ? { ...seen, [own]: present } : seen;
    const head = this.head(opening, {
      ...window,
      ...{ from, to, reached, more: cut !== null },
      ...(isHeld && { held: true }),
      ...(cut === null && { seen: seenBy(told, held?.origins ?? (held ? null : [])) }),
    });
    const sent = this.outgoing(opening, head, parts, found, from.xmax);
    return { ...sent, held: isHeld, overdue: held?.overdue ?? [] };
  }

  /** What was forgotten here is not brought by the stream: who has not heard of it has to copy. */
  private assertKept({ shapes, guards, reader }: Opening, from: Snapshot): void {
    const { nodeId, epoch } = this.identity;
    const names = shapes.map(({ name }) => name);
    const knows = { ...reader, [nodeId]: { cursor: { epoch, snapshot: from }, tables: names } };
    const tables = names.filter((name) => !meets(knows, guards.get(name) ?? [], name));
    if (tables.length === 0) return;
    throw new Problem(
      'gone',
      `Deletions in ${tables.join(', ')} that this cursor has not come past are not kept any more. Copy from the beginning.`,
      { tables },
    );
  }

  private async openPiece(opening: Opening, { at, whole: told }: FeedRequest & { kind: 'copy' }) {
    const { client, shapes, present, leftOut, limit, guards, reader } = opening;
    const lacking = shapes.map(({ name }) => name).filter((name) => !meets(reader, guards.get(name) ?? [], name));
    const whole = at === null ? lacking : (told ?? []);
    const leaving = (name: string) => (whole.includes(name) ? nothingLeftOut : leftOut);
    const { parts, next, rows } = await planPiece(client, shapes, at, leaving, limit);
    const bounds = { from: present, to: present, reached: present, more: next !== null };
    const extent = { rows, of: at === null ? await estimateRows(client, shapes) : null };
    const head = this.head(opening, { kind: 'copy', ...bounds, at, next, whole, extent });
    const columnless = parts.map((part) => ({ ...part, columns: null }));
    return this.outgoing(opening, head, columnless, { rows, own: rows }, 0n);
  }

  private opening(
    client: PoolClient,
    shapes: readonly TableShape[],
    { snapshot: present, guarded, ...known }: Present,
    options: Pick<Opening, 'leftOut' | 'limit' | 'reader'>,
  ): Opening {
    return { client, shapes, present, guards: toGuards(guarded), ...known, ...options };
  }

  private head({ shapes, guards, knowledge, present }: Opening, { from, to, reached, ...rest }: Span): WindowFrame {
    const { nodeId, epoch } = this.identity;
    const own = { cursor: { epoch, snapshot: present }, tables: this.shapes.names };
    const names = new Set(shapes.map(({ name }) => name));
    return {
      type: 'window',
      protocol: protocolVersion,
      node: nodeId,
      epoch,
      from: formatSnapshot(from),
      to: formatSnapshot(to),
      ...(!sameSnapshot(reached, to) && { reached: formatSnapshot(reached) }),
      tables: [...names],
      knowledge: toWire({ ...knowledge, [nodeId]: own }),
      guards: toWireGuards(Object.fromEntries([...guards].filter(([name]) => names.has(name)))),
      ...rest,
    };
  }

  private outgoing(
    { client, unflushed, present }: Opening,
    head: WindowFrame,
    parts: readonly Part[],
    { rows, own }: { rows: number; own: number },
    fromXid: bigint,
  ): OpenWindow {
    let open = true;
    let reading = false;
    // The server of a reader that left in the middle may be blocked writing to us: nothing can be asked on that connection.
    const close = async () => {
      if (!open) return;
      open = false;
      if (reading) client.release(true);
      else await rollback(client);
    };
    const { ordinary } = this;
    const mend = (error: unknown) => this.mendLater(error, parts, fromXid);
    async function* frames(): AsyncGenerator<Frame> {
      if (!open) throw new Error('This window was read already');
      let sent = 0;
      let held = 0;
      reading = true;
      try {
        await assertShapes(
          client,
          parts.map(({ shape }) => shape),
        );
        yield head;
        for (const part of parts) {
          const columns = await part.columns?.(client, windowBytes - held);
          if (columns) {
            held += columns.bytes;
            sent += columns.frame.count;
            // What was counted may all lie behind the cut.
            if (columns.frame.count > 0) yield columns.frame;
            continue;
          }
          for await (const frame of copyRows(client, part.shape, part.versions)) {
            if (frame.type === 'copied') sent += frame.count;
            yield frame;
          }
        }
        await flushed(client, ordinary, unflushed);
        yield { type: 'end', rows: sent };
        reading = false;
      } catch (error) {
        await close();
        throw await mend(error);
      } finally {
        await close();
      }
    }
    return { head, rows, own, held: false, overdue: [], end: present.xmax, frames, close };
  }

  /** Looks after what made the reading of a window fail, so that the next one succeeds. */
  private async mendLater(error: unknown, parts: readonly Part[], fromXid: bigint): Promise<unknown> {
    const state = sqlState(error);
    if (error instanceof ShapeChanged || isShapeChange(state, String(error))) await this.shapes.refresh();
    else if (state === 'P2001') for (const { shape } of parts) await this.mend(shape, fromXid);
    else return error;
    const what = (error as Error).message;
    return new Problem(
      'busy',
      `A table changed while a window was read from it: ${what}. It is read anew.`,
      {},
      { cause: error },
    );
  }
}

async function rollback(client: PoolClient): Promise<void> {
  let broken: Error | undefined;
  await client.query('ROLLBACK').catch((error: Error) => (broken = error));
  client.release(broken);
}

/** What a reader of the window has of each origin: all that we have, but for what was held back. */
function seenBy(seen: Seen, held: readonly string[] | null): WireSeen {
  if (held === null) return {};
  return toWireSeen(Object.fromEntries(Object.entries(seen).filter(([origin]) => !held.includes(origin))));
}

function toWire(knowledge: Knowledge): WireKnowledge {
  const known = Object.entries(knowledge).filter(([, { tables }]) => tables.length > 0);
  return Object.fromEntries(
    known.map(([node, { cursor, tables }]) => [node, { cursor: formatCursor(cursor), tables }]),
  );
}
