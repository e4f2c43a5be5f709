import { setTimeout as sleep } from 'node:timers/promises';
import type { Knowledge, Position } from '@pgmesh/core';
import { type Frame, FrameError, Problem, protocolVersion, type WindowFrame } from '@pgmesh/wire';
import type { ConflictNote } from '../conflicts/view';
import type { Connections } from '../connections';
import { refusesRow, rethrowAway, sqlState } from '../database';
import type { Changed } from '../parking/record';
import { Settlement } from '../parking/settlement';
import { assertConstraints, otherConstraints, unmetReference, unsettled } from '../parking/watch';
import { readKnowledge, readPosition } from '../positions';
import { isShapeChange, type Shapes } from '../shapes';
import { ShapeChanged, type TableShape } from '../table-shape';
import { Arrival, Late } from './arrival';
import type { Crowd } from './crowd';
import { Desk } from './desk';
import { inApply } from './in-apply';
import type { Judge } from './judge';
import { Collision } from './merge';
import {
  type MergedWindow,
  MergeTransaction,
  type MergeTransactionOptions,
  MustSettle,
  unversioned,
} from './merge-transaction';
import { copyStages, literalStage, type Target, targetOf } from './stage';

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
      readonly position: Position;
    }
  | { readonly outcome: 'gap'; readonly head: WindowFrame; readonly position: Position | null };

export interface InboxOptions {
  readonly nodeId: string;
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
/** Milliseconds that a merge waits, in all, for the window that it goes on beside; users' rows are locked meanwhile. */
const patience = 1000;

/** What peers send, merged into our tables: received as a whole first, then merged in one transaction (invariant 7). */
export class PostgresInbox {
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly connections: Pick<Connections, 'ordinary' | 'merges' | 'bulk'>,
    private readonly shapes: Shapes,
    private readonly options: InboxOptions,
  ) {}

  position(node: string): Promise<Position | null> {
    return readPosition(this.connections.ordinary, node).catch(rethrowAway);
  }

  knowledge(): Promise<Knowledge> {
    return readKnowledge(this.connections.ordinary).catch(rethrowAway);
  }

  /** Receiving goes on beside merges, its own included; merges follow one another. */
  async apply(frames: AsyncIterable<Frame>): Promise<Applied> {
    await using desk = new Desk(this.connections);
    const source = frames[Symbol.asyncIterator]();
    try {
      const arrival = new Arrival(await expectHead(source, this.options.nodeId));
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
    const copied: { frame?: Frame & { type: 'copied' } } = {};
    let count = 0;
    try {
      const client = await desk.staging();
      for await (const stage of copyStages(client, target, () => desk.nextStage(), dataOf(source, copied))) {
        count += stage.count;
        arrival.add(stage);
      }
    } catch (error) {
      await this.lookAgain([target], error);
      return this.refused(error);
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
    const end = await arrival.complete();
    const { head, stages } = arrival;
    const client = await desk.merging();
    let settling = false;
    for (let attempt = 1; ; attempt++) {
      const careful = attempt > 1 || settling;
      try {
        const merge = new MergeTransaction(client, head, this.mergeOptions(careful, settling));
        if (!(await merge.begin(stages))) return { outcome: 'gap', head, position: merge.before };
        for (const stage of stages) await merge.merge(stage);
        return this.applied(head, await merge.commit(end));
      } catch (error) {
        await client.query('ROLLBACK');
        const state = sqlState(error);
        if (!settling && (error instanceof MustSettle || isInTheWay(state, careful))) {
          settling = true;
          continue;
        }
        if (attempt >= attempts) return this.refused(error);
        if (error instanceof Collision) {
          await error.merge.assertDistinct(client);
          await this.options.adopt(this.shapes.get(error.merge.stage.shape.name) ?? error.merge.stage.shape);
        } else if (state === unversioned) {
          await this.options.versionAside();
        } else if (error instanceof ShapeChanged || isShapeChange(state, String(error))) {
          await this.lookAgain(stages, error);
          await client.query('DISCARD PLANS');
        } else if (state === otherConstraints) {
          await this.shapes.refresh();
        } else if (!retried.has(state ?? '')) {
          await this.lookAgain(stages, error);
          return this.refused(error);
        }
        await sleep(Math.random() * 20 * 2 ** attempt);
      }
    }
  }

  private mergeOptions(careful: boolean, settling: boolean): MergeTransactionOptions {
    return { ...this.options, shapes: this.shapes, careful, settling };
  }

  /**
   * Merges a large window while it arrives. Null when that did not do: something stood in its way, or it arrives so slowly that
   * users' rows would stay locked for it. What has arrived is kept, and is merged when all is there.
   */
  private async mergeBeside(desk: Desk, arrival: Arrival): Promise<Applied | null> {
    const { head } = arrival;
    const client = await desk.merging();
    try {
      const merge = new MergeTransaction(client, head, this.mergeOptions(false, false));
      if (!(await merge.begin([]))) return { outcome: 'gap', head, position: merge.before };
      for await (const stage of arrival.beside(patience)) await merge.merge(stage);
      return this.applied(head, await merge.commit(await arrival.complete()));
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

  /** Decides anew which rows stand of tables that foreign keys connect, their ids. */
  settle(tables: ReadonlySet<number>): Promise<Changed> {
    return this.inTurn(async () => {
      const { shapes } = this;
      const changed = await inApply(
        () => this.connections.bulk.connect(),
        async (client) => {
          const settlement = await Settlement.open(client, shapes.constraints, shapes.all, tables);
          const settled = await settlement.conclude();
          for (const statement of assertConstraints(shapes, settlement.tables)) await client.query(statement);
          return settled;
        },
      );
      this.options.parking(changed);
      return changed;
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

  /** A statement that failed on the window's values, as a refusal that names what to do; other errors as they are. */
  private refused(error: unknown): never {
    const state = sqlState(error);
    const { message, table, column, constraint } = error as { message: string } & Record<string, string | undefined>;
    const where = { table, column, constraint };
    if (error instanceof Collision) {
      throw new Problem('busy', `${message} each time it was tried. It is tried again.`, {}, { cause: error });
    }
    if (state === unversioned) throw new Problem('busy', `${message}. It is tried again.`, {}, { cause: error });
    if (state === '55P03' || state?.startsWith('40')) {
      throw new Problem(
        'busy',
        `Rows of the window are locked by another transaction: ${message}. It is tried again.`,
        where,
        { cause: error },
      );
    }
    if (state === '42501') {
      throw new Problem(
        'forbidden',
        `The database role may not apply the window: ${message}. Grant it the right.`,
        where,
        { cause: error },
      );
    }
    if (state === unmetReference) {
      throw new Problem(
        'invalid_value',
        `The window takes away a row that rows of a table refer to which is not shared, by ${constraint}. Nothing of it was applied; it is tried ` +
          `again. Share that table too, or take its rows away.`,
        where,
        { cause: error },
      );
    }
    if (state && refusals.test(state)) {
      throw new Problem(
        'invalid_value',
        `PostgreSQL refused the window: ${message}. Nothing of it was applied; it is tried again.`,
        where,
        { cause: error },
      );
    }
    throw error;
  }

  private inTurn<T>(work: () => Promise<T> | T): Promise<T> {
    const turn = this.last.then(work);
    this.last = turn.catch(() => undefined);
    return turn;
  }
}

/** Values that the table, its constraints, domains and triggers do not take, or that are too large for PostgreSQL. */
const refusals = /^(0A|20|21|22|23|2F|38|39|42|44|54|P0)/;

/** Serialization failure, deadlock, lock not available; a key that somebody else has taken since we looked, a parent that has gone. */
const retried = new Set(['40001', '40P01', '55P03', '23505', '23P01', unmetReference]);

/** Whether a constraint is in the way of a row: then it is decided anew which stand. A key may be one that is being written just now. */
function isInTheWay(state: string | undefined, careful: boolean): boolean {
  if (state === '23505') return careful;
  return refusesRow(state) || state === '23P01' || state === unmetReference || state === unsettled;
}

async function expectHead(source: AsyncIterator<Frame>, nodeId: string): Promise<WindowFrame> {
  const { value: head, done } = await source.next();
  if (done || head.type !== 'window') throw new FrameError('A window starts with its head');
  if (head.protocol !== protocolVersion) {
    throw new Problem(
      'other_protocol',
      `The sender speaks protocol ${head.protocol}, this node ${protocolVersion}. Run the same version of pgmesh.`,
    );
  }
  if (head.node === nodeId) {
    throw new Problem(
      'other_node',
      `The window comes from a node that has the name of this one, ${nodeId}. Give each its own NODE_ID.`,
    );
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(head.node) || !/^[0-9a-z]{1,32}$/.test(head.epoch)) {
    throw new Problem('bad_request', 'The window comes from a node that has no valid name or epoch.');
  }
  return head;
}

/** The bytes of a COPY, up to its closing frame, which is left in `copied`. */
async function* dataOf(
  source: AsyncIterator<Frame>,
  copied: { frame?: Frame & { type: 'copied' } },
): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { value: frame, done } = await source.next();
    if (done) throw new FrameError('The window was cut off inside a table');
    if (frame.type === 'data') yield frame.bytes;
    else if (frame.type === 'copied') {
      copied.frame = frame;
      return;
    } else throw new FrameError(`A frame "${frame.type}" stands inside a table`);
  }
}
