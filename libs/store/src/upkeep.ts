import type { Pool } from 'pg';
import { endSettled, forgetSettled } from './conflicts/ended';
import { isAway, readingBeside } from './database';
import { tick } from './feed/ticks';
import { dropHistories, seedHistory } from './history/seed';
import type { NodeIdentity } from './identity';
import type { ParkingUpkeep } from './parking/upkeep';
import { forgetPositions } from './positions';
import { backfill, sweep, versionImages } from './reconcile';
import { followNames } from './renamed-columns';
import type { Rulebook } from './rulebook';
import { SequenceKeeper } from './sequences/keeper';
import type { Shapes } from './shapes';
import { readShapes, type TableShape } from './table-shape';
import { completeTriggers, findUnfit, forgetDropped, track } from './tracking';

export interface UpkeepOptions {
  readonly conflictRetention?: number;
  readonly onProgress?: (what: string) => void;
  readonly onError?: (error: Error) => void;
}

/** Milliseconds between two looks. */
const interval = 10_000;
const defaultConflictRetention = 30 * 86_400_000;

/**
 * Looks after what changes around the tables: renamed and dropped ones, keys of other types, new partitions, tombstones that TRUNCATE left
 * out, sequences that others' numbers have overtaken, parked rows. By itself every few seconds, one thing after another.
 */
export class Upkeep {
  readonly sequences: SequenceKeeper;
  /** The tables that positions speak of. */
  private followed = '';
  private timer: NodeJS.Timeout | null = null;
  private working: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly pool: Pool,
    private readonly identity: NodeIdentity,
    private readonly shapes: Shapes,
    private readonly rulebook: Rulebook,
    private readonly parking: ParkingUpkeep,
    private readonly options: UpkeepOptions,
  ) {
    this.sequences = new SequenceKeeper(pool, shapes, (work) => this.reporting(work));
  }

  start(): void {
    this.timer = setInterval(() => void this.keepUp(), interval).unref();
  }

  async stop(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    await this.working;
    await this.sequences.stop();
  }

  keepUp(): Promise<unknown> {
    this.working = this.working.then(() => this.reporting(() => this.upkeepOnce()));
    return this.working;
  }

  /** Does something that must not be done beside the upkeep. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.working.then(work);
    this.working = done.catch(() => undefined); // told to whoever asked for it
    return done;
  }

  track(oid: number): Promise<TableShape> {
    return track(this.pool, this.identity, oid, this.rulebook.judge.keeps);
  }

  report(error: Error): void {
    if (!isAway(error)) this.options.onError?.(error);
  }

  /** One table's trouble does not keep the others from being looked after. */
  private async reporting(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.report(error as Error);
    }
  }

  private async upkeepOnce(): Promise<void> {
    const dropped = await forgetDropped(this.pool);
    for (const name of dropped) {
      this.options.onError?.(
        new Error(`${name} was dropped and is no longer shared. If there is a new one, start again to share it.`),
      );
    }
    const { keeps } = this.rulebook.judge;
    const unfit = await readingBeside(this.pool, async (client) => findUnfit(client, await readShapes(client), keeps));
    for (const { oid, name } of unfit) {
      await this.reporting(async () => {
        const shape = await this.track(oid);
        await backfill(this.pool, this.identity, shape);
        if (shape.maxVersions > 0) await seedHistory(this.pool, shape);
        this.options.onProgress?.(`${name} was altered: its capture follows`);
      });
    }
    await this.shapes.refresh();
    await this.reporting(() => followNames(this.pool, this.shapes.all));
    const names = this.shapes.names.join();
    if (names !== this.followed) await forgetPositions(this.pool, this.shapes.names);
    this.followed = names;
    for (const shape of this.shapes.all) {
      await this.reporting(async () => {
        if (await completeTriggers(this.pool, shape)) {
          await backfill(this.pool, this.identity, shape);
          if (shape.maxVersions > 0) await seedHistory(this.pool, shape);
        }
        await versionImages(this.pool, this.identity, shape);
      });
    }
    await this.sequences.keepUp();
    await this.reporting(() => dropHistories(this.pool, this.shapes.all));
    await this.reporting(() => this.rulebook.askAgain(this.shapes));
    await sweep(this.pool, this.identity, this.shapes.all);
    this.parking.nudge();
    await tick(this.pool);
    await endSettled(this.pool, this.shapes.all);
    await forgetSettled(this.pool, this.options.conflictRetention ?? defaultConflictRetention);
  }
}
