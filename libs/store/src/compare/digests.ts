import { type DigestedRange, type DigestRange, formatSnapshot, type HeldRow, parsePgSnapshot } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import type { Pool } from 'pg';
import { asItIs } from '../as-it-is';
import type { Connections } from '../connections';
import { inTransaction, rethrowAway, sqlState, waits } from '../database';
import type { OpenWindow } from '../feed/feed';
import type { NodeIdentity } from '../identity';
import type { Shapes } from '../shapes';
import { assertShapes, type TableShape } from '../table-shape';
import { readHeld } from './held-rows';
import { KeyOrder, orderName } from './key-order';
import { captureLate, type RemediedRow } from './late-capture';
import { RangeReader } from './ranges';
import type { Compared } from './row-digest';

/** Rows by their keys, and the snapshot that showed them so, as `xmax:xip,…`. */
export interface HeldRows {
  readonly snapshot: string;
  readonly rows: readonly HeldRow[];
}

/** What a table is compared by: columns that both sides have, and whether keys are in the order of the index. */
export interface Comparison extends Compared {
  readonly table: string;
  readonly byIndex: boolean;
}

/** A range's rows are joined and sorted in memory; to compile the statement would take longer than to run it. */
const reading = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL work_mem = '64MB'; SET LOCAL jit = off`;

/** Our rows and their versions as digests, by which nodes are compared; and what is done about those that differ (docs/verify.md). */
export class PostgresDigests {
  constructor(
    private readonly connections: Pick<Connections, 'ordinary' | 'windows'>,
    private readonly identity: NodeIdentity,
    private readonly shapes: Shapes,
    private readonly openRows: (table: string, keys: readonly (readonly string[])[]) => Promise<OpenWindow>,
    private readonly settles: (shape: TableShape) => boolean,
    /** Called after rows were given versions. */
    private readonly changed: () => void,
  ) {}

  /** Names the order in which an index has the table's keys; null where there is none to go by. */
  order(table: string): Promise<string | null> {
    return this.of(table, (shape) => orderName(this.connections.ordinary, shape));
  }

  /** Whether the last write stands in every row of the table. */
  settled(table: string): Promise<boolean> {
    return this.of(table, async (shape) => this.settles(shape));
  }

  /** @throws Problem `bad_request` for keys that are none of the table's */
  read(comparison: Comparison, ranges: readonly DigestRange[]): Promise<DigestedRange[]> {
    return this.ranges(comparison, async (reader) => {
      const read: DigestedRange[] = [];
      for (const range of ranges) read.push(await reader.read(range));
      return read;
    });
  }

  /** The key at which a range of `rows` rows from `from` on ends; null at the table's end. */
  endOf(comparison: Comparison, from: readonly string[] | null, rows: number): Promise<readonly string[] | null> {
    return this.ranges(comparison, (reader) => reader.keyAfter(from, rows));
  }

  held({ table, ...compared }: Comparison, keys: readonly (readonly string[])[]): Promise<HeldRows> {
    return this.of(table, (shape) =>
      this.inSnapshot(this.connections.windows, shape, keys, async (client) => {
        const { rows } = await client.query<{ snapshot: string }>('SELECT pg_current_snapshot()::text AS snapshot');
        const held = await readHeld(client, shape, compared, keys);
        return { snapshot: formatSnapshot(parsePgSnapshot(rows[0]!.snapshot)), rows: held };
      }),
    );
  }

  /** The rows of these keys as a window that moves nobody's position. */
  open(table: string, keys: readonly (readonly string[])[]): Promise<OpenWindow> {
    return this.of(table, (shape) => {
      assertKeys(shape, keys);
      return this.openRows(table, keys);
    });
  }

  /** See captureLate. @throws Problem `busy` when somebody has the rows locked */
  async settle(
    { table, ...compared }: Comparison,
    remedies: readonly RemediedRow[],
    meanwhile: () => Promise<void> = async () => undefined,
  ): Promise<number> {
    if (remedies.length === 0) {
      await meanwhile();
      return 0;
    }
    const settled = await this.of(table, async (shape) => {
      assertKeys(
        shape,
        remedies.map(({ key }) => key),
      );
      return captureLate(this.connections.ordinary, this.identity, shape, compared, remedies, meanwhile).catch(
        asProblem,
      );
    });
    if (settled > 0) this.changed();
    return settled;
  }

  private ranges<T>(comparison: Comparison, work: (reader: RangeReader) => Promise<T>): Promise<T> {
    return this.of(comparison.table, (shape) =>
      this.inSnapshot(this.connections.ordinary, shape, [], (client) => {
        const order = comparison.byIndex ? KeyOrder.byIndex(shape) : KeyOrder.byText(shape);
        return work(new RangeReader(client, shape, comparison, order));
      }),
    );
  }

  private inSnapshot<T>(
    pool: Pool,
    shape: TableShape,
    keys: readonly (readonly string[])[],
    work: Parameters<typeof inTransaction<T>>[2],
  ): Promise<T> {
    assertKeys(shape, keys);
    return inTransaction<T>(pool, reading, async (client) => {
      await assertShapes(client, [shape]);
      return work(client);
    }).catch(asProblem);
  }

  private of<T>(table: string, work: (shape: TableShape) => Promise<T>): Promise<T> {
    const shape = this.shapes.get(table);
    if (!shape) return Promise.reject(new Problem('not_found', `${table} is not shared here any more.`));
    return asItIs(this.shapes, shape, work).catch(rethrowAway);
  }
}

function assertKeys({ name, key }: TableShape, keys: readonly (readonly string[])[]): void {
  if (keys.every(({ length }) => length === key.length)) return;
  throw new Problem(
    'bad_request',
    `A key of ${name} has ${key.length} columns: ${key.map((column) => column.name).join(', ')}.`,
  );
}

/** Texts that are no values of the key's types. */
const unreadable = /^(22|23|42602|42704)/;

function asProblem(error: unknown): never {
  const state = sqlState(error) ?? '';
  const { message } = error as Error;
  if (waits(state)) {
    throw new Problem(
      'busy',
      `Rows that differ are locked by another transaction: ${message}. They are left as they are; compare again.`,
      {},
      { cause: error },
    );
  }
  if (unreadable.test(state))
    throw new Problem('bad_request', `A key cannot be read: ${message}.`, {}, { cause: error });
  throw error;
}
