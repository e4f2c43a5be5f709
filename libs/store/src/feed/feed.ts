import {
  beginning,
  type CopyPoint,
  feedName,
  type FeedRequest,
  formatCursor,
  formatSnapshot,
  type Knowledge,
  sameSnapshot,
  type Seen,
  type Snapshot,
} from '@pgmesh/core';
import {
  type Frame,
  Problem,
  protocolVersion,
  toWireSeen,
  type WindowFrame,
  type WireKnowledge,
  type WireSeen,
} from '@pgmesh/wire';
import type { Pool, PoolClient } from 'pg';
import { rethrowAway, sqlState } from '../database';
import { isShapeChange, type Shapes } from '../shapes';
import { assertShapes, ShapeChanged, type TableShape } from '../table-shape';
import { planPiece } from './copy-plan';
import { flushed } from './durable';
import type { Later, LeftOut } from './left-out';
import {
  beginWindow,
  boundsOf,
  copyRows,
  findCut,
  findHeld,
  fitsColumns,
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
}

/** One table's rows of a window that is open: as columns where they are few and small, as a stream of COPY text otherwise. */
interface Part {
  readonly shape: TableShape;
  readonly columns: ((client: PoolClient, budget: number) => ReturnType<typeof readColumns>) | null;
  readonly versions: string;
}

const attempts = 4;

/** Our own changes, read in windows (invariant 2). */
export class PostgresFeed {
  constructor(
    private readonly pool: Pool,
    /** For work beside the windows. */
    private readonly ordinary: Pool,
    private readonly identity: { readonly nodeId: string; readonly epoch: string; readonly origin: string },
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
      const { snapshot: present, knowledge, seen, unflushed } = await beginWindow(client, this.shapes.names);
      const feeds = options.except(knowledge).flatMap((node) => {
        const known = knowledge[node];
        return known ? [feedName(node, known.cursor.epoch)] : [];
      });
      const leftOut = { feeds, seen: options.seen ?? {}, later: options.later ?? null };
      const from = { client, shapes, present, knowledge, seen, unflushed, leftOut, limit: options.limit };
      return await (request.kind === 'window' ? this.openWindow(from, request.from) : this.openPiece(from, request.at));
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
      const { snapshot: present, unflushed } = await beginWindow(client, this.shapes.names);
      // Our present is what they may be of; it is told where they are not yet read, for others to be sent them all the same.
      const bounds = { from: beginning, to: beginning, reached: present, more: true, at: null, next: null };
      const head = this.head(shapes, { kind: 'window', ...bounds });
      const parts = shapes.map((shape) => ({ shape, columns: null, versions: versionsOf(shape, keys) }));
      const rows = { rows: keys.length, own: keys.length };
      const sent = this.outgoing({ client, unflushed }, head, parts, { knowledge: null }, rows, present.xmax);
      return { ...sent, held: false, overdue: [], end: present.xmax };
    } catch (error) {
      await rollback(client);
      throw error;
    }
  }

  private async openWindow(opening: Opening, from: Snapshot) {
    const { client, shapes, present, knowledge, seen, limit } = opening;
    if (from.xmax > present.xmax) {
      throw new Problem(
        'cloned_node',
        `The cursor lies ahead of the transactions of ${this.identity.nodeId} (${formatSnapshot(from)}): its database was set back, or is a copy. ` +
          `Stop it and give it a name of its own: pgmesh new-incarnation.`,
      );
    }
    const held = await findHeld(client, shapes, from, opening.leftOut);
    const leftOut = held ? opening.leftOut : { ...opening.leftOut, later: null };
    const found = await probe(client, shapes, from, leftOut, limit);
    const cut = await findCut(client, found.tables, from, leftOut, limit);
    const { bounds, to, reached } = boundsOf(from, present, cut, held ?? undefined);
    const { origin } = this.identity;
    const parts = found.tables.map(({ shape, count }) => ({
      shape,
      columns: fitsColumns(count)
        ? (reader: PoolClient, budget: number) => readColumns(reader, shape, bounds, leftOut, origin, budget)
        : null,
      versions: versionsWithin(shape, bounds, leftOut),
    }));
    const head = this.head(shapes, { kind: 'window', from, to, reached, more: cut !== null, at: null, next: null });
    const isHeld = (held?.transactions.length ?? 0) > 0;
    const told = {
      knowledge: cut === null && !isHeld ? toWire(knowledge) : null,
      ...(cut === null && { seen: seenBy(seen, held?.origins ?? (held ? null : [])) }),
    };
    return {
      ...this.outgoing(opening, head, parts, told, found, from.xmax),
      held: isHeld,
      overdue: held?.overdue ?? [],
      end: present.xmax,
    };
  }

  private async openPiece(opening: Opening, at: CopyPoint | null) {
    const { client, shapes, present, leftOut, limit } = opening;
    const { parts, next, rows } = await planPiece(client, shapes, at, leftOut, limit);
    const head = this.head(shapes, { kind: 'copy', from: present, to: present, more: next !== null, at, next });
    const columnless = parts.map((part) => ({ ...part, columns: null }));
    const sent = this.outgoing(opening, head, columnless, { knowledge: null }, { rows, own: rows }, 0n);
    return { ...sent, held: false, overdue: [], end: present.xmax };
  }

  private head(
    shapes: readonly TableShape[],
    {
      from,
      to,
      reached = to,
      ...rest
    }: Pick<WindowFrame, 'kind' | 'more' | 'at' | 'next'> & { from: Snapshot; to: Snapshot; reached?: Snapshot },
  ): WindowFrame {
    return {
      type: 'window',
      protocol: protocolVersion,
      node: this.identity.nodeId,
      epoch: this.identity.epoch,
      from: formatSnapshot(from),
      to: formatSnapshot(to),
      ...(!sameSnapshot(reached, to) && { reached: formatSnapshot(reached) }),
      tables: shapes.map((shape) => shape.name),
      ...rest,
    };
  }

  private outgoing(
    { client, unflushed }: Pick<Opening, 'client' | 'unflushed'>,
    head: WindowFrame,
    parts: readonly Part[],
    told: Pick<Frame & { type: 'end' }, 'knowledge' | 'seen'>,
    { rows, own }: { rows: number; own: number },
    fromXid: bigint,
  ): Pick<OpenWindow, 'head' | 'rows' | 'own' | 'frames' | 'close'> {
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
    const { origin } = this.identity;
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
          for await (const frame of copyRows(client, part.shape, part.versions, origin)) {
            if (frame.type === 'copied') sent += frame.count;
            yield frame;
          }
        }
        await flushed(client, ordinary, unflushed);
        yield { type: 'end', rows: sent, ...told };
        reading = false;
      } catch (error) {
        await close();
        throw await mend(error);
      } finally {
        await close();
      }
    }
    return { head, rows, own, frames, close };
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
