import { escapeLiteral } from 'pg';
import { printing } from '../database';
import { inData, keysEqual, metaKeys } from '../keys';
import type { TableShape } from '../table-shape';
import { fillTemplate } from '../template';
import { writtenStatements } from './record-sql';

/** What a table's capture function has besides, when a history is kept of the table. */
export interface CaptureHistory {
  /** SET clauses of the function: a user's session may print values otherwise than ours (trap 35). */
  readonly settings: string;
  /** After the versions. */
  readonly block: string;
}

export const noHistory: CaptureHistory = { settings: '', block: '' };

/**
 * A session keeps the plan of its first write, when the history may have been empty: without this it read all of it at every write
 * from then on (measured: 5 to 20 ms instead of 0.6).
 */
const byKey = { enable_seqscan: 'off', jit: 'off' };

export function captureHistory(shape: TableShape): CaptureHistory {
  const sources = {
    update: `SELECT ${keysOf(shape, (ident) => `coalesce(n.${ident}, o.${ident})`)}
      FROM old_rows AS o FULL JOIN new_rows AS n ON ${keysEqual(shape, inData('n'), inData('o'))}`,
    insert: `SELECT ${keysOf(shape, (ident) => `n.${ident}`)} FROM new_rows AS n`,
    delete: `SELECT ${keysOf(shape, (ident) => `o.${ident}`)} FROM old_rows AS o`,
    truncate: ownVersions(shape),
  };
  const block = fillTemplate('capture-history.sql', {
    prints: prints(shape),
    oid: String(shape.oid),
    relation: shape.name,
    relationName: escapeLiteral(shape.name),
    updated: writtenStatements(shape, sources.update),
    inserted: writtenStatements(shape, sources.insert),
    deleted: writtenStatements(shape, sources.delete),
    truncated: writtenStatements(shape, sources.truncate),
    anything: escapeLiteral(writtenStatements(shape, '/*source*/', '/*image*/')),
    sourceOfUpdate: escapeLiteral(sources.update),
    sourceOfInsert: escapeLiteral(sources.insert),
    sourceOfDelete: escapeLiteral(sources.delete),
    sourceOfTruncate: escapeLiteral(sources.truncate),
  });
  const settings = Object.entries({ ...printing, ...byKey }).map(
    ([name, value]) => `\n  SET ${name} = ${escapeLiteral(value)}`,
  );
  return { settings: settings.join(''), block: `\n${block}` };
}

/** The keys of what this transaction has given versions. */
export function ownVersions(shape: TableShape): string {
  return `SELECT ${metaKeys(shape, 'm')} FROM ${shape.meta} AS m WHERE m.xid = pg_current_xact_id()`;
}

export function prints({ id }: Pick<TableShape, 'id'>): string {
  return `p2p.prints_${id}`;
}

/** @param columns all columns of the table, in its order, quoted where they must be */
export function printsStatement(shape: TableShape, columns: readonly string[]): string {
  return fillTemplate('prints.sql', {
    name: shape.name,
    relation: shape.name,
    prints: prints(shape),
    columns: columns.map((ident) => `d.${ident}`).join(', '),
    sameTypes: shape.columns.map((column) => `p2p.alike(d.${column.ident}, NULL::${column.type})`).join(' AND '),
  });
}

export function historyTableStatement(shape: TableShape): string {
  return fillTemplate('history.sql', {
    name: shape.name,
    history: shape.history,
    meta: shape.meta,
    keys: metaKeys(shape),
    keyDefinitions: shape.key.map((column, i) => `key${i + 1} ${column.definition}`).join(', '),
  });
}

function keysOf(shape: TableShape, value: (ident: string) => string): string {
  return shape.key.map(({ ident }, i) => `${value(ident)} AS key${i + 1}`).join(', ');
}
