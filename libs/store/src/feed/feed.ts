import { type CopyPoint, type FeedRequest, formatSnapshot, type Snapshot } from '@pgmesh/core';
import { type Frame, Problem, protocolVersion, type WindowFrame } from '@pgmesh/wire';
import type { Pool, PoolClient } from 'pg';
import { rethrowAway, sqlState } from '../database';
import { isShapeChange, type Shapes } from '../shapes';
import { fingerprintOf, type TableShape } from '../table-shape';
import { planPiece } from './copy-plan';
import { boundsOf, copyRows, findCut, fitsColumns, probe, readColumns, versionsWithin } from './window-reader';

/** A window that is about to be sent. It holds a snapshot of the database open until it was read or closed. */
export interface OpenWindow {
  readonly head: WindowFrame;
  readonly rows: number;
  readonly own: number;
  frames(): AsyncIterable<Frame>;
  close(): Promise<void>;
}

export interface FeedOptions {
  readonly except: readonly string[];
  readonly limit: number;
}

/** What is still to be read of a window, once its snapshot is known. */
type Part = { frame: Frame } | { shape: TableShape; versions: string };

const attempts = 4;

/** Our own changes, read in windows (invariant 2). */
export class PostgresFeed {
  constructor(
    private readonly pool: Pool,
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
        if (attempt === attempts || !(await this.mended(error, request))) return rethrowAway(error);
      }
    }
  }

  private async tryOpen(request: FeedRequest, options: FeedOptions): Promise<OpenWindow> {
    const shapes = request.tables.flatMap((name) => this.shapes.get(name) ?? []);
    const client = await this.pool.connect();
    try {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      return request.kind === 'window'
        ? await this.openWindow(client, shapes, request.from, options)
        : await this.openPiece(client, shapes, request.at, options);
    } catch (error) {
      await rollback(client);
      throw error;
    }
  }

  private async openWindow(client: PoolClient, shapes: TableShape[], from: Snapshot, { except, limit }: FeedOptions) {
    const found = await probe(client, shapes, from, except, limit);
    await assertShapes(
      client,
      found.tables.map(({ shape }) => shape),
    );
    const cut = await findCut(client, found.tables, from, except, limit);
    const { bounds, to } = boundsOf(from, found.present, cut);
    const parts: Part[] = [];
    for (const { shape, count } of found.tables) {
      const frame = fitsColumns(count) ? await readColumns(client, shape, bounds, except) : null;
      parts.push(frame ? { frame } : { shape, versions: versionsWithin(shape, bounds, except) });
    }
    const head = this.head(shapes, { kind: 'window', from, to, more: cut !== null, at: null, next: null });
    const knowledge = cut === null ? found.knowledge : null;
    return this.outgoing(client, head, parts, knowledge, found, from.xmax);
  }

  private async openPiece(client: PoolClient, shapes: TableShape[], at: CopyPoint | null, { limit }: FeedOptions) {
    const plan = await planPiece(client, shapes, at, limit);
    await assertShapes(
      client,
      plan.parts.map(({ shape }) => shape),
    );
    const { present: to, next } = plan;
    const head = this.head(shapes, { kind: 'copy', from: to, to, more: next !== null, at, next });
    return this.outgoing(client, head, plan.parts, null, { rows: plan.rows, own: plan.rows }, 0n);
  }

  private head(
    shapes: TableShape[],
    { from, to, ...rest }: Pick<WindowFrame, 'kind' | 'more' | 'at' | 'next'> & { from: Snapshot; to: Snapshot },
  ): WindowFrame {
    return {
      type: 'window',
      protocol: protocolVersion,
      node: this.identity.nodeId,
      epoch: this.identity.epoch,
      from: formatSnapshot(from),
      to: formatSnapshot(to),
      tables: shapes.map((shape) => shape.name),
      ...rest,
    };
  }

  private outgoing(
    client: PoolClient,
    head: WindowFrame,
    parts: readonly Part[],
    knowledge: (Frame & { type: 'end' })['knowledge'],
    { rows, own }: { rows: number; own: number },
    fromXid: bigint,
  ): OpenWindow {
    let open = true;
    const close = async (failed?: boolean) => {
      if (!open) return;
      open = false;
      if (failed) client.release(true);
      else await rollback(client);
    };
    const mend = (error: unknown, shape: TableShape) => this.mendLater(error, shape, fromXid);
    async function* frames(): AsyncGenerator<Frame> {
      if (!open) throw new Error('This window was read already');
      let sent = 0;
      let complete = false;
      try {
        yield head;
        for (const part of parts) {
          if ('frame' in part) {
            yield part.frame;
            if (part.frame.type === 'rows') sent += part.frame.count;
          } else {
            try {
              for await (const frame of copyRows(client, part.shape, part.versions)) {
                if (frame.type === 'copied') sent += frame.count;
                yield frame;
              }
            } catch (error) {
              await close(true);
              throw await mend(error, part.shape);
            }
          }
        }
        yield { type: 'end', rows: sent, knowledge };
        complete = true;
      } finally {
        await close(!complete);
      }
    }
    return { head, rows, own, frames, close: () => close() };
  }

  /** Whether an error was of the kind that a second look mends, having mended what was to mend. */
  private async mended(error: unknown, request: FeedRequest): Promise<boolean> {
    const state = sqlState(error);
    if (error instanceof ShapeChanged || isShapeChange(state, String(error))) {
      await this.shapes.refresh();
      return true;
    }
    if (state !== 'P2001') return false;
    for (const name of request.tables) {
      const shape = this.shapes.get(name);
      if (shape) await this.mend(shape, request.kind === 'window' ? request.from.xmax : 0n);
    }
    return true;
  }

  private async mendLater(error: unknown, shape: TableShape, fromXid: bigint): Promise<unknown> {
    const state = sqlState(error);
    if (isShapeChange(state, String(error))) await this.shapes.refresh();
    else if (state === 'P2001') await this.mend(shape, fromXid);
    else return error;
    return new Problem(
      'busy',
      `${shape.name} changed while a window was read from it. Ask again.`,
      {},
      { cause: error },
    );
  }
}

/** A table is not what its shape says. */
class ShapeChanged extends Error {}

/** Columns may have come or gone since we last looked: none of their values may be left out of a window (invariant 6). */
async function assertShapes(client: PoolClient, shapes: readonly TableShape[]): Promise<void> {
  if (shapes.length === 0) return;
  const { rows } = await client.query<{ fingerprint: string | null }>({
    name: 'p2p_fingerprints',
    text: `SELECT ${fingerprintOf('o.oid')} AS fingerprint FROM unnest($1::oid[]) WITH ORDINALITY AS o (oid, i) ORDER BY o.i`,
    values: [shapes.map((shape) => shape.oid)],
  });
  const changed = shapes.find((shape, i) => shape.fingerprint !== rows[i]!.fingerprint);
  if (changed) throw new ShapeChanged(`The columns of ${changed.name} have changed`);
}

async function rollback(client: PoolClient): Promise<void> {
  let broken: Error | undefined;
  await client.query('ROLLBACK').catch((error: Error) => (broken = error));
  client.release(broken);
}
