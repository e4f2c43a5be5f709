import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { takesOrRefuses } from '@pgmesh/core';
import { type Frame, Problem, versionColumns, type WindowFrame } from '@pgmesh/wire';
import type { PoolClient } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { printed } from '../feed/window-query';
import type { Shapes } from '../shapes';
import type { Column, TableShape } from '../table-shape';
import { typed } from '../typed-text';
import { rowsInPieces } from './rows-in-pieces';

/**
 * Bytes of COPY text in a stage, about. The first is small, so that merging begins soon; each next one has double the size, for it
 * fills while those before it are merged, and few large statements cost less than many small ones.
 */
const stageBytes = (stage: number): number => 4 * 1024 * 1024 * 2 ** Math.min(stage, 4);

/** The version columns of a staged row: v1…v9 in the order of `versionColumns`. */
export const versionTypes = [
  'int8',
  'text COLLATE "C"',
  'int4',
  'jsonb',
  'jsonb',
  'jsonb',
  'bool',
  'text COLLATE "C"',
  'int8',
];

/** Our table and its columns in a window's order, the key's first. */
export interface Target {
  readonly shape: TableShape;
  readonly columns: readonly Column[];
}

/** One table's part of a window, arrived as a whole and ready to be merged. */
export interface Stage extends Target {
  readonly count: number;
  /** How many of them are tombstones; of a large part that is not known, and all may be. */
  readonly deleted: number;
  /** SQL for its rows: v1…v9, c1…cn, typed. */
  readonly source: string;
  /** The same with the table's own columns as text: what rows are read from that the types do not take. */
  readonly texts: () => Pick<Stage, 'source' | 'lengths'>;
  /** SQL for the lengths of its column literals, which must all be `count`; null when the rows lie in a table. */
  readonly lengths: string | null;
  /** The parameters of `source`; empty when the rows lie in a table. */
  readonly literals: readonly string[];
}

/** A stage whose rows are column literals, handed to `unnest` as they came: no value is ever looked into (invariant 8). */
export function literalStage({ shape, columns }: Target, frame: Frame & { type: 'rows' }): Stage {
  if (frame.literals.length !== versionTypes.length + columns.length) {
    throw new Problem(
      'bad_request',
      `The window has ${frame.literals.length} literals for ${columns.length} columns of ${shape.name}.`,
    );
  }
  const versions = versionTypes.map((type) => `${type.replace(' COLLATE "C"', '')}[]`);
  const names = [...versionNames, ...columns.map((_, i) => `c${i + 1}`)];
  const rows = (arrays: readonly string[], value: (column: Column, i: number) => string): string => {
    const all = [...versions, ...arrays].map((type, i) => `$${i + 1}::${type}`);
    const values = columns.map((column, i) => `${value(column, i)} AS c${i + 1}`);
    return `SELECT ${[...versionNames.map((name) => `u.${name}`), ...values].join(', ')} FROM unnest(${all.join(', ')}) AS u (${names.join(', ')})`;
  };
  const arrays = columns.map((column) => (column.transport === 'array' ? `${column.base}[]` : 'text[]'));
  const source = rows(arrays, ({ transport, base }, i) => `u.c${i + 1}${transport === 'text' ? `::${base}` : ''}`);
  const lengthsOf = (own: readonly string[]) =>
    `ARRAY[${[...versions, ...own].map((type, i) => `cardinality($${i + 1}::${type})`).join(', ')}]`;
  const texts = () => {
    // A comma is what all arrays have between their elements but those of boxes.
    const asText = columns.map(({ base }) => (base === 'box' ? 'box[]' : 'text[]'));
    return { source: rows(asText, (_, i) => `u.c${i + 1}::text`), lengths: lengthsOf(asText) };
  };
  const { count, deleted, literals } = frame;
  return { shape, columns, count, deleted, source, texts, lengths: lengthsOf(arrays), literals };
}

/**
 * Stages of a table's COPY text: tables of ours that the rows go straight into, whatever their number and size, a new one
 * whenever `stageBytes` are full. Unlogged and no temporary ones, so that another connection merges what lies in the
 * first while the next is being filled.
 * @param asText whether values are only looked at when the stage is merged: its types do not take all of them
 */
export async function* copyStages(
  client: PoolClient,
  { shape, columns }: Target,
  nextName: () => string,
  data: AsyncIterable<Uint8Array>,
  asText: boolean,
): AsyncGenerator<Stage> {
  const definitions = [
    ...versionTypes.map((type, i) => `v${i + 1} ${type}`),
    ...columns.map((column, i) => `c${i + 1} ${asText ? 'text' : column.base}`),
  ];
  const listed = (value: (column: Column, at: string) => string) =>
    [...versionNames, ...columns.map((column, i) => `${value(column, `c${i + 1}`)} AS c${i + 1}`)].join(', ');
  const judged = ['v1', 'v2', ...shape.key.map((_, i) => `c${i + 1}`)].join(', ');
  for await (const piece of rowsInPieces(data, stageBytes)) {
    const name = nextName();
    await client.query(`CREATE UNLOGGED TABLE ${name} (${definitions.join(', ')}) WITH (autovacuum_enabled = off)`);
    const stream = client.query(copyFrom(`COPY ${name} FROM STDIN`));
    await pipeline(Readable.from(piece, { objectMode: false }), stream);
    await client.query(`ANALYZE ${name} (${judged})`);
    const { rowCount: count } = stream;
    const texts = () => ({
      source: asText ? `SELECT * FROM ${name}` : `SELECT ${listed(printed)} FROM ${name}`,
      lengths: null,
    });
    const source = asText
      ? `SELECT ${listed(({ base: type }, at) => typed({ type }, at))} FROM ${name}`
      : `SELECT * FROM ${name}`;
    yield { shape, columns, count, deleted: count, source, texts, lengths: null, literals: [] };
  }
}

/** v1…v9 */
export const versionNames = versionColumns.map((_, i) => `v${i + 1}`);

/** @throws Problem `not_found`, `unknown_column` */
export function targetOf(
  head: WindowFrame,
  shapes: Shapes,
  { table, columns, types }: Pick<Frame & { type: 'copy' }, 'table' | 'columns' | 'types'>,
): Target {
  const shape = head.tables.includes(table) ? shapes.get(table) : undefined;
  if (!shape) throw new Problem('not_found', 'The window has rows of a table that is not shared here.');
  return { shape, columns: columnsOf(shape, columns, types) };
}

/**
 * The window's columns as ours. The sender may lack columns that we have; one that we lack, or have of a type that its values may not
 * fit, would lose them. Links keep such tables out of windows (libs/sync: PausedTables); this is for those that were under way when
 * a table was altered.
 */
function columnsOf(shape: TableShape, names: readonly string[], types?: readonly string[]): Column[] {
  const columns = names.map((name, i) => {
    const column = shape.columns.find((candidate) => candidate.name === name);
    if (!column) {
      const found = shape.form.columns.some((candidate) => candidate.name === name) ? 'computes' : 'lacks';
      throw new Problem(
        'unknown_column',
        `The window has a column "${name}" of ${shape.name} that this node's table ${found}. Make it the same here, then the sync goes on by itself.`,
        { table: shape.name, column: name },
      );
    }
    const theirs = types?.[i];
    if (theirs === undefined || takesOrRefuses(column.plain, theirs)) return column;
    throw new Problem(
      'unknown_column',
      `The window has the column "${name}" of ${shape.name} as ${theirs.slice(0, 200)}, this node's table as ${column.declared}. Make it the same here, then the sync goes on by itself.`,
      { table: shape.name, column: name },
    );
  });
  const key = shape.key.map((column) => column.name);
  if (new Set(names).size !== names.length || key.some((name, i) => names[i] !== name)) {
    throw new Problem(
      'unknown_column',
      `The window's primary key of ${shape.name} is not this node's (${key.join(', ')}). Make the primary keys the same.`,
      { table: shape.name },
    );
  }
  return columns;
}
