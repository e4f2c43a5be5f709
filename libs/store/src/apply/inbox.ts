import { setTimeout as sleep } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { copiedAnew, type Knowledge, type Position, type Seen, type Snapshot } from '@pgmesh/core';
import { type Frame, FrameError, Problem, type WindowFrame } from '@pgmesh/wire';
import type { ConflictNote } from '../conflicts/view';
import type { Connections } from '../connections';
import { inTransaction, rethrowAway, sqlState } from '../database';
import type { Changed } from '../parking/record';
import { Settlement } from '../parking/settlement';
import { assertConstraints, otherConstraints } from '../parking/watch';
import {
  type InTouch,
  lockPositions,
  type PositionRow,
  readKnowledge,
  readPosition,
  readSeen,
  toPosition,
  writePosition,
} from '../positions';
import { isShapeChange, type Shapes } from '../shapes';
import { ShapeChanged, type TableShape } from '../table-shape';
import { Arrival, Late } from './arrival';
import type { Crowd } from './crowd';
import { Desk } from './desk';
import { inApply } from './in-apply';
import { dataOf, expectHead } from './incoming-frames';
import type { Judge } from './judge';
import { Collision } from './merge';
import {
  type MergedWindow,
  MergeTransaction,
  type MergeTransactionOptions,
  MustSettle,
  unversioned,
} from './merge-transaction';
import { metaKeys } from '../keys';
import { versionsSince } from '../feed/window-query';
import { isInTheWay, isKeyTaken, refused, retried } from './refusal';
import { cannotRead, isMalformed, Unreadable } from './unreadable';
import { copyStages, literalStage, type Stage, type Target, targetOf } from './stage';

export type Applied =
  | {
      readonly outcome: 'applied';
      readonly head: WindowFrame;
      readonly rows: number;
      readonly changed: number;
      readonly conflicts: number;
      /** The conflicts one by one, at most a thousand. */
      readonly noted: readonly ConflictNote[];
      readonly tables: Readonly<Record<string, number>>;
      readonly repeated: readonly string[];
      readonly position: Position;
    }
  | { readonly outcome: 'gap'; readonly head: WindowFrame; readonly position: Position | null };

export interface InboxOptions {
  readonly nodeId: string;
  readonly epoch: string;
  /** Under which we write. */
  readonly origin: string;
  /** How far ahead of our clock a version may be stamped, in microseconds. */
  readonly maxDrift: number;
  /** How conflicts are decided. */
  readonly judge: Judge;
  /** Told of rows that many have written at once. */
  readonly crowded: (crowd: Crowd) => void;
  /** Gives rows of ours that have no version one. */
  readonly adopt: (shape: TableShape) => Promise<unknown>;
  /** Gives writes of ours that capture put aside their versions. */
  readonly versionAside: () => Promise<unknown>;
  /** Called after a commit that changed something. */
  readonly changed: () => void;
  /** Told which rows were parked, and which are back; also where there are none. */
  readonly parking: (changed: Changed) => void;
}

/** Column literals that are held in memory for one window, in bytes. A sender of ours stays below half of it. */
const heldBytes = 16 * 1024 * 1024;
const attempts = 6;
/** Collisions after which they are none. */
const collisions = 3;
/** Milliseconds that a merge waits, in all, for the window that it goes on beside; users' rows are locked meanwhile. */
const patience = 1000;

/** What peers send, merged into our tables: received as a whole first, then merged in one transaction (invariant 7). */
export class PostgresInbox {
  private last: Promise<unknown> = Promise.resolve();
  /** Tables of which a window came with values that cannot be read here: the next is received as text, so that the rows are found. */
  private readonly readAsText = new Set<string>();

  constructor(
    private readonly connections: Pick<Connections, 'ordinary' | 'merges' | 'bulk'>,
    private readonly shapes: Shapes,
    private readonly options: InboxOptions,
  ) {}

  position(node: string): Promise<Position | null> {
    return readPosition(this.connections.ordinary, node).catch(rethrowAway);
  }

  /** From now on these tables are copied from that node anew. False when we do not follow any of them there. */
  copyAnew(node: string, tables: readonly string[]): Promise<boolean> {
    return inTransaction(this.connections.ordinary, 'BEGIN', async (client) => {
      const { rows } = await client.query<PositionRow>(`${lockPositions.text}`);
      const row = rows.find((one) => one.node === node);
      const position = row && toPosition(row);
      const anew = position && copiedAnew(position, tables);
      if (anew === undefined || anew === position) return false;
      await client.query(writePosition(node, anew));
      return true;
    }).catch(rethrowAway);
  }

  knowledge(): Promise<Knowledge> {
    return readKnowledge(this.connections.ordinary).catch(rethrowAway);
  }

  seen(): Promise<Seen> {
    return readSeen(this.connections.ordinary, this.shapes.names).catch(rethrowAway);
  }

  /** Receiving goes on beside merges, its own included; merges follow one another. */
  async apply(frames: AsyncIterable<Frame>, inTouch: InTouch = () => null): Promise<Applied> {
    await using desk = new Desk(this.connections);
    const source = frames[Symbol.asyncIterator]();
    try {
      const arrival = new Arrival(await expectHead(source, this.options.nodeId), inTouch);
      const receiving = this.receive(desk, source, arrival).catch((error: unknown) => arrival.fail(error));
      try {
        await arrival.started();
        const early = await this.inTurn(() => (arrival.isComplete ? null : this.mergeBeside(desk, arrival)));
        if (early) return early;
        // Not in turn: a sender that falls silent would hold up all others.
        await arrival.complete();
        return await this.inTurn(() => this.merge(desk, arrival));
      } finally {
        await source.return?.();
        await receiving;
      }
    } catch (error) {
      desk.broken = sqlState(error) === undefined && !(error instanceof Problem || error instanceof FrameError);
      return rethrowAway(error);
    } finally {
      await source.return?.();
    }
  }

  private async receive(desk: Desk, source: AsyncIterator<Frame>, arrival: Arrival): Promise<void> {
    const { head } = arrival;
    const seen = new Set<string>();
    let held = 0;
    for (;;) {
      const { value: frame, done } = await source.next();
      if (done) throw new FrameError('The window was cut off before its end');
      if (frame.type === 'end') return arrival.finish(frame);
      if (frame.type !== 'rows' && frame.type !== 'copy') {
        throw new FrameError(`A frame "${frame.type}" stands where it does not belong`);
      }
      if (seen.has(frame.table)) throw new FrameError('A table stands in the window twice');
      seen.add(frame.table);
      const target = await this.target(head, frame);
      if (frame.type === 'rows') {
        held += frame.literals.reduce((bytes, literal) => bytes + literal.length, 0);
        if (held > heldBytes)
          throw new Problem('too_large', 'The window holds more column literals than a window may.');
        arrival.add(literalStage(target, frame));
      } else {
        await this.receiveCopy(desk, source, target, arrival);
      }
    }
  }

  private async receiveCopy(desk: Desk, source: AsyncIterator<Frame>, target: Target, arrival: Arrival): Promise<void> {
    const { name } = target.shape;
    const copied: { frame?: Frame & { type: 'copied' } } = {};
    let count = 0;
    try {
      const client = await desk.staging();
      const asText = this.readAsText.has(name);
      const data = dataOf(source, copied);
      for await (const stage of copyStages(client, target, () => desk.nextStage(), data, asText)) {
        count += stage.count;
        arrival.add(stage);
      }
    } catch (error) {
      await this.lookAgain([target], error);
      if (!cannotRead(error, target.shape) || isMalformed(error)) return refused(error);
      if (this.readAsText.has(name)) return refused(new Unreadable(name, error as Error));
      this.readAsText.add(name);
      const text = `${name} has values that cannot be read here: ${(error as Error).message}. The window is asked for again, to find the rows.`;
      throw new Problem('busy', text, { table: name }, { cause: error });
    }
    if (count !== copied.frame?.count) throw new FrameError('A table of the window was cut off');
  }

  /** Where a part's rows go. A table that does not fit may have been altered since we last looked (trap 32). */
  private async target(
    head: WindowFrame,
    frame: { readonly table: string; readonly columns: readonly string[] },
  ): Promise<Target> {
    try {
      return targetOf(head, this.shapes, frame);
    } catch {
      await this.shapes.refresh();
      return targetOf(head, this.shapes, frame);
    }
  }

  private async merge(desk: Desk, arrival: Arrival): Promise<Applied> {
    await arrival.complete();
    const { head, stages } = arrival;
    const client = await desk.merging();
    let settling = false;
    const unread = new Set<Stage>();
    let merging: Stage | null = null;
    for (let attempt = 1; ; attempt++) {
      const careful = attempt > 1 || settling;
      try {
        const merge = new MergeTransaction(client, head, this.mergeOptions(arrival, careful, settling, unread));
        if (!(await merge.begin(stages))) return { outcome: 'gap', head, position: merge.before };
        for (merging of stages) await merge.merge(merging);
        merging = null;
        const merged = await merge.commit();
        for (const { shape } of stages) this.readAsText.delete(shape.name);
        for (const { shape } of unread) this.readAsText.add(shape.name);
        return this.applied(head, merged);
      } catch (error) {
        await client.query('ROLLBACK');
        const cause = error instanceof Unreadable ? error.cause : error;
        const state = sqlState(cause);
        // A row that collides with none, time and again, is one that a trigger leaves out.
        const isLeftOut = error instanceof Collision && attempt >= collisions;
        const isUnread = stages.some(({ shape }) => cannotRead(cause, shape));
        if (!settling && (isLeftOut || isUnread || error instanceof MustSettle || isInTheWay(cause, careful))) {
          settling = true;
          continue;
        }
        if (error instanceof Unreadable && error.what === 'values' && merging && !unread.has(merging)) {
          unread.add(merging);
          // No attempt in vain: a stage is sifted once.
          attempt--;
          continue;
        }
        if (attempt >= attempts) return refused(error);
        if (error instanceof Collision) {
          await error.merge.assertDistinct(client);
          await this.options.adopt(this.shapes.get(error.merge.stage.shape.name) ?? error.merge.stage.shape);
        } else if (state === unversioned) {
          await this.options.versionAside();
        } else if (error instanceof ShapeChanged || isShapeChange(state, String(error))) {
          await this.lookAgain(stages, error);
          await client.query('DISCARD PLANS');
        } else if (state === otherConstraints || (settling && isKeyTaken(state))) {
          // By a constraint that has just come, perhaps.
          await this.shapes.refresh();
        } else if (!retried.has(state ?? '')) {
          await this.lookAgain(stages, cause);
          return refused(error);
        }
        await sleep(Math.random() * 20 * 2 ** attempt);
      }
    }
  }

  private mergeOptions(
    { inTouch }: Arrival,
    careful: boolean,
    settling: boolean,
    unread: ReadonlySet<Stage>,
  ): MergeTransactionOptions {
    return { ...this.options, shapes: this.shapes, inTouch, careful, settling, unread };
  }

  /**
   * Merges a large window while it arrives. Null when that did not do: something stood in its way, or it arrives so slowly that
   * users' rows would stay locked for it. What has arrived is kept, and is merged when all is there.
   */
  private async mergeBeside(desk: Desk, arrival: Arrival): Promise<Applied | null> {
    const { head } = arrival;
    const client = await desk.merging();
    try {
      const merge = new MergeTransaction(client, head, this.mergeOptions(arrival, false, false, new Set()));
      if (!(await merge.begin([]))) return { outcome: 'gap', head, position: merge.before };
      for await (const stage of arrival.beside(patience)) await merge.merge(stage);
      await arrival.complete();
      return this.applied(head, await merge.commit());
    } catch (error) {
      await client.query('ROLLBACK');
      const again = [Late, Collision, ShapeChanged, MustSettle].some((kind) => error instanceof kind);
      if (again || sqlState(error) !== undefined) return null;
      throw error;
    }
  }

  private applied(head: WindowFrame, { parking, ...merged }: MergedWindow): Applied {
    if (merged.changed > 0) this.options.changed();
    this.options.parking(parking);
    return { outcome: 'applied', head, ...merged };
  }

  /**
   * Decides anew which rows stand where rows are parked.
   * @param tables the ids of the tables that have them
   * @param since what local writes have changed since then, is in question; everything that is parked, where this is null
   */
  settle(tables: ReadonlySet<number>, since: Snapshot | null): Promise<Changed> {
    return this.inTurn(async () => {
      for (let attempt = 1; ; attempt++) {
        try {
          const changed = await inApply(
            () => this.connections.bulk.connect(),
            (client) => settleIn(client, this.shapes, tables, since),
          );
          this.options.parking(changed);
          return changed;
        } catch (error) {
          const state = sqlState(error);
          const isOld =
            error instanceof ShapeChanged || isShapeChange(state, String(error)) || state === otherConstraints;
          if (!isOld || attempt === attempts) throw error;
          await this.shapes.refresh();
        }
      }
    });
  }

  /** A part that was received for a table as it was cannot be merged into what it is: the window has to come again. */
  private async lookAgain(targets: readonly Target[], cause: unknown): Promise<void> {
    if (sqlState(cause) === undefined && !(cause instanceof ShapeChanged)) return;
    await this.shapes.refresh();
    const changed = targets.find(({ shape }) => this.shapes.get(shape.name)?.fingerprint !== shape.fingerprint);
    if (!changed) return;
    const { name } = changed.shape;
    throw new Problem(
      'busy',
      `${name} changed while a window was merged into it. It is tried again.`,
      { table: name },
      { cause },
    );
  }

  private inTurn<T>(work: () => Promise<T> | T): Promise<T> {
    const turn = this.last.then(work);
    this.last = turn.catch(() => undefined);
    return turn;
  }
}

async function settleIn(
  client: PoolClient,
  shapes: Shapes,
  tables: ReadonlySet<number>,
  since: Snapshot | null,
): Promise<Changed> {
  const settlement = await Settlement.open(client, shapes, tables);
  if (since === null) await settlement.takeAll();
  else {
    for (const shape of shapes.all.filter(({ id }) => settlement.tables.has(id))) {
      await settlement.noteChanged(shape, `SELECT ${metaKeys(shape, 'm')} FROM ${versionsSince(shape, since)} AS m`);
    }
  }
  const changed = await settlement.conclude();
  for (const statement of assertConstraints(shapes, settlement.tables)) await client.query(statement);
  return changed;
}
