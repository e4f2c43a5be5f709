import { setTimeout as sleep } from 'node:timers/promises';
import { feedName, type Knowledge, type Position } from '@pgmesh/core';
import { type EndFrame, type Frame, FrameError, Problem, protocolVersion, type WindowFrame } from '@pgmesh/wire';
import type { PoolClient, QueryConfig } from 'pg';
import type { Connections } from '../connections';
import { rethrowAway, sqlState } from '../database';
import { isShapeChange, type Shapes } from '../shapes';
import { ShapeChanged, type TableShape } from '../table-shape';
import {
  learnFrom,
  lockPositions,
  positionAfter,
  type PositionRow,
  readKnowledge,
  readPosition,
  toPosition,
  writePosition,
} from '../positions';
import { burst, prepared } from '../prepared';
import { Collision, StageMerge } from './merge';
import { Desk } from './desk';
import { copyStage, literalStage, type Stage, type Target, targetOf } from './stage';

export type Applied =
  | {
      readonly outcome: 'applied';
      readonly head: WindowFrame;
      readonly rows: number;
      readonly changed: number;
      readonly conflicts: number;
      readonly tables: Readonly<Record<string, number>>;
      readonly position: Position;
    }
  | { readonly outcome: 'gap'; readonly head: WindowFrame; readonly position: Position | null };

export interface InboxOptions {
  readonly nodeId: string;
  /** How far ahead of our clock a version may be stamped, in microseconds. */
  readonly maxDrift: number;
  /** Gives rows of ours that have no version one. */
  readonly adopt: (shape: TableShape) => Promise<unknown>;
  /** Called after a commit that changed something. */
  readonly changed: () => void;
}

/** Column literals that are held in memory for one window, in bytes. A sender of ours stays below half of it. */
const heldBytes = 16 * 1024 * 1024;
const attempts = 6;

/** What peers send, merged into our tables: received as a whole first, then merged in one transaction (invariant 7). */
export class PostgresInbox {
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly connections: Pick<Connections, 'ordinary' | 'merges' | 'stages'>,
    private readonly shapes: Shapes,
    private readonly options: InboxOptions,
  ) {}

  position(node: string): Promise<Position | null> {
    return readPosition(this.connections.ordinary, node).catch(rethrowAway);
  }

  knowledge(): Promise<Knowledge> {
    return readKnowledge(this.connections.ordinary).catch(rethrowAway);
  }

  /** Receiving goes on beside the merge of another window; merges follow one another. */
  async apply(frames: AsyncIterable<Frame>): Promise<Applied> {
    await using desk = new Desk(this.connections);
    try {
      const arrival = await this.receive(desk, frames);
      return await this.inTurn(async () => this.merge(await desk.merging(), arrival));
    } catch (error) {
      desk.broken = sqlState(error) === undefined && !(error instanceof Problem || error instanceof FrameError);
      return rethrowAway(error);
    }
  }

  private async receive(desk: Desk, frames: AsyncIterable<Frame>): Promise<Arrival> {
    const source = frames[Symbol.asyncIterator]();
    const head = await expectHead(source, this.options.nodeId);
    const stages: Stage[] = [];
    let held = 0;
    try {
      for (;;) {
        const { value: frame, done } = await source.next();
        if (done) throw new FrameError('The window was cut off before its end');
        if (
          (frame.type === 'rows' || frame.type === 'copy') &&
          stages.some(({ shape }) => shape.name === frame.table)
        ) {
          throw new FrameError('A table stands in the window twice');
        }
        if (frame.type === 'rows') {
          held += frame.literals.reduce((bytes, literal) => bytes + literal.length, 0);
          if (held > heldBytes)
            throw new Problem('too_large', 'The window holds more column literals than a window may.');
          stages.push(literalStage(await this.target(head, frame), frame));
        } else if (frame.type === 'copy') {
          const target = await this.target(head, frame);
          const name = `stage_${stages.length + 1}`;
          const copied: { frame?: Frame & { type: 'copied' } } = {};
          const stage = await copyStage(await desk.staging(), target, name, dataOf(source, copied)).catch(
            async (error: unknown) => {
              await this.lookAgain([target], error);
              return this.refused(error);
            },
          );
          if (stage.count !== copied.frame?.count) throw new FrameError('A table of the window was cut off');
          stages.push(stage);
        } else if (frame.type === 'end') {
          const rows = stages.reduce((sum, { count }) => sum + count, 0);
          if (rows !== frame.rows) throw new FrameError(`The window announces ${frame.rows} rows and has ${rows}`);
          return { head, stages, end: frame };
        } else {
          throw new FrameError(`A frame "${frame.type}" stands where it does not belong`);
        }
      }
    } finally {
      await source.return?.();
    }
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

  private async merge(client: PoolClient, arrival: Arrival): Promise<Applied> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.tryMerge(client, arrival, attempt > 1);
      } catch (error) {
        await client.query('ROLLBACK');
        const state = sqlState(error);
        if (attempt === attempts) return this.refused(error);
        if (error instanceof Collision) {
          await error.merge.assertDistinct(client);
          await this.options.adopt(error.merge.stage.shape);
        } else if (error instanceof ShapeChanged || isShapeChange(state, String(error))) {
          await this.lookAgain(arrival.stages, error);
          await client.query('DISCARD PLANS');
        } else if (!retried.has(state ?? '') && !(state === '23505' && attempt === 1)) {
          await this.lookAgain(arrival.stages, error);
          return this.refused(error);
        }
        await sleep(Math.random() * 20 * 2 ** attempt);
      }
    }
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

  private async tryMerge(client: PoolClient, { head, stages, end }: Arrival, careful: boolean): Promise<Applied> {
    const merge = {
      via: feedName(head.node, head.epoch),
      sender: head.node,
      maxDrift: this.options.maxDrift,
      careful,
    };
    const merges = [...stages]
      .sort((a, b) => (a.shape.name < b.shape.name ? -1 : 1))
      .map((stage) => new StageMerge(stage, merge));
    // Small parts are sent along with the beginning, at once.
    const small = merges.filter(({ stage }) => stage.literals.length > 0);
    const openings = small.map((one) => one.opening);
    const [, , locked, ...results] = await burst(client, [...begin, lockPositions, ...openings.flat()]);
    const positions = new Map((locked!.rows as unknown as PositionRow[]).map((row) => [row.node, toPosition(row)]));
    const before = positions.get(head.node) ?? null;
    const position = positionAfter(before, head);
    if (position === null) {
      await client.query('ROLLBACK');
      return { outcome: 'gap', head, position: before };
    }
    const tables: Record<string, number> = {};
    const counters: QueryConfig[] = [];
    let rows = 0;
    let changed = 0;
    let conflicts = 0;
    for (const one of merges) {
      const { shape, count } = one.stage;
      const opening = small.includes(one) ? results.splice(0, one.opening.length) : null;
      const merged = opening ? await one.conclude(client, opening) : await one.run(client);
      rows += count;
      changed += merged.changed;
      conflicts += merged.conflicts;
      if (merged.changed > 0) tables[shape.name] = (tables[shape.name] ?? 0) + merged.changed;
      if (merged.conflicts > 0) counters.push(countConflicts(shape, merged.conflicts));
    }
    const learned = end.knowledge ? learnFrom(positions, head, end.knowledge) : new Map<string, Position>();
    const moved = [...learned].map(([node, to]) => writePosition(node, to));
    await burst(client, [writePosition(head.node, position), ...moved, ...counters, { text: 'COMMIT' }]);
    if (changed > 0) this.options.changed();
    return { outcome: 'applied', head, rows, changed, conflicts, tables, position };
  }

  /** A statement that failed on the window's values, as a refusal that names what to do; other errors as they are. */
  private refused(error: unknown): never {
    const state = sqlState(error);
    const { message, table, column, constraint } = error as { message: string } & Record<string, string | undefined>;
    const where = { table, column, constraint };
    if (error instanceof Collision) {
      throw new Problem('busy', `${message} each time it was tried. It is tried again.`, {}, { cause: error });
    }
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

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(work);
    this.last = turn.catch(() => undefined);
    return turn;
  }
}

interface Arrival {
  readonly head: WindowFrame;
  readonly stages: readonly Stage[];
  readonly end: EndFrame;
}

/**
 * p2p.mode holds this transaction's own id, so that a setting that survived it would suppress nothing (trap 31). The lock
 * time-out is below deadlock_timeout: where a user's transaction and ours wait for each other, it is ours that gives way.
 */
const begin: QueryConfig[] = [
  { text: 'BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE' },
  prepared(
    `SELECT set_config('p2p.mode', pg_current_xact_id()::text || ' apply', true), set_config('lock_timeout',
      greatest(1, least(400, 400 * extract(epoch FROM current_setting('deadlock_timeout')::interval)))::int4::text, true)`,
    [],
  ),
];

function countConflicts(shape: TableShape, conflicts: number): QueryConfig {
  return prepared('UPDATE p2p.tracked_table SET conflicts = conflicts + $2 WHERE id = $1', [shape.id, conflicts]);
}

/** Values that the table, its constraints, domains and triggers do not take, or that are too large for PostgreSQL. */
const refusals = /^(0A|20|21|22|23|2F|38|39|42|44|54|P0)/;

/** Serialization failure, deadlock, lock not available. */
const retried = new Set(['40001', '40P01', '55P03']);

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
