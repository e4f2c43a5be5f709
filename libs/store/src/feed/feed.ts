import {
  beginning,
  feedName,
  type FeedRequest,
  formatCursor,
  formatSnapshot,
  type Guards,
  type Knowledge,
  meets,
  type Snapshot,
} from '@pgmesh/core';
import { type Frame, Problem, protocolVersion, toWireGuards, type WindowFrame, type WireKnowledge } from '@pgmesh/wire';
import type { Pool, PoolClient } from 'pg';
import { rethrowAway, sqlState } from '../database';
import { toGuards } from '../forgetting/guards';
import { isShapeChange, type Shapes } from '../shapes';
import { assertShapes, ShapeChanged, type TableShape } from '../table-shape';
import { planPiece } from './copy-plan';
import { flushed } from './durable';
import {
  beginWindow,
  boundsOf,
  copyRows,
  findCut,
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
  frames(): AsyncIterable<Frame>;
  close(): Promise<void>;
}

export interface FeedOptions {
  /** Judges, by what we knew in the window's snapshot, of which nodes the reader has all rows already. */
  readonly except: (ours: Knowledge) => readonly string[];
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
  /** The feeds whose rows are left out, by `feedName`. */
  readonly except: readonly string[];
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
      const { snapshot: present, knowledge, unflushed, guarded } = await beginWindow(client);
      const except = options.except(knowledge).flatMap((node) => {
        const known = knowledge[node];
        return known ? [feedName(node, known.cursor.epoch)] : [];
      });
      const guards = toGuards(guarded, this.identity);
      const { limit, reader = {} } = options;
      const from = { client, shapes, present, knowledge, unflushed, except, limit, guards, reader };
      return await (request.kind === 'window' ? this.openWindow(from, request.from) : this.openPiece(from, request));
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
      const { snapshot: present, knowledge, unflushed, guarded } = await beginWindow(client);
      const guards = toGuards(guarded, this.identity);
      const limit = keys.length;
      const opening = { client, shapes, present, knowledge, unflushed, except: [], limit, guards, reader: {} };
      const bounds = { from: beginning, to: beginning, more: true, at: null, next: null, whole: [] };
      const parts = shapes.map((shape) => ({ shape, columns: null, versions: versionsOf(shape, keys) }));
      const rows = { rows: keys.length, own: keys.length };
      return this.outgoing(opening, this.head(opening, { kind: 'window', ...bounds }), parts, rows, present.xmax);
    } catch (error) {
      await rollback(client);
      throw error;
    }
  }

  private async openWindow(opening: Opening, from: Snapshot) {
    const { client, shapes, present, except, limit } = opening;
    if (from.xmax > present.xmax) {
      throw new Problem(
        'cloned_node',
        `The cursor lies ahead of the transactions of ${this.identity.nodeId} (${formatSnapshot(from)}): its database was set back, or is a copy. ` +
          `Stop it and give it a name of its own: pgmesh new-incarnation.`,
      );
    }
    this.assertKept(opening, from);
    const found = await probe(client, shapes, from, except, limit);
    const cut = await findCut(client, found.tables, from, except, limit);
    const { bounds, to } = boundsOf(from, present, cut);
    const parts = found.tables.map(({ shape, count }) => ({
      shape,
      columns: fitsColumns(count)
        ? (reader: PoolClient, budget: number) => readColumns(reader, shape, bounds, except, budget)
        : null,
      versions: versionsWithin(shape, bounds, except),
    }));
    const head = this.head(opening, { kind: 'window', from, to, more: cut !== null, at: null, next: null, whole: [] });
    return this.outgoing(opening, head, parts, found, from.xmax);
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
    const { client, shapes, present, except, limit, guards, reader } = opening;
    const lacking = shapes.map(({ name }) => name).filter((name) => !meets(reader, guards.get(name) ?? [], name));
    const whole = at === null ? lacking : (told ?? []);
    const { parts, next, rows } = await planPiece(
      client,
      shapes,
      at,
      (name) => (whole.includes(name) ? [] : except),
      limit,
    );
    const head = this.head(opening, { kind: 'copy', from: present, to: present, more: next !== null, at, next, whole });
    return this.outgoing(
      opening,
      head,
      parts.map((part) => ({ ...part, columns: null })),
      { rows, own: rows },
      0n,
    );
  }

  private head(
    { shapes, guards, knowledge, present }: Opening,
    {
      from,
      to,
      ...rest
    }: Pick<WindowFrame, 'kind' | 'more' | 'at' | 'next' | 'whole'> & { from: Snapshot; to: Snapshot },
  ): WindowFrame {
    const { nodeId, epoch } = this.identity;
    const own = { cursor: { epoch, snapshot: present }, tables: this.shapes.names };
    const names = new Set(shapes.map(({ name }) => name));
    return {
      type: 'window',
      protocol: protocolVersion,
      node: this.identity.nodeId,
      epoch: this.identity.epoch,
      from: formatSnapshot(from),
      to: formatSnapshot(to),
      tables: [...names],
      knowledge: toWire({ ...knowledge, [nodeId]: own }),
      guards: toWireGuards(Object.fromEntries([...guards].filter(([name]) => names.has(name)))),
      ...rest,
    };
  }

  private outgoing(
    { client, unflushed }: Opening,
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

function toWire(knowledge: Knowledge): WireKnowledge {
  const known = Object.entries(knowledge).filter(([, { tables }]) => tables.length > 0);
  return Object.fromEntries(
    known.map(([node, { cursor, tables }]) => [node, { cursor: formatCursor(cursor), tables }]),
  );
}
