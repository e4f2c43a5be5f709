import { imageOf } from '../apply/merge-sql';
import { printed, sizeOf } from '../feed/window-query';
import { inData, inMeta, keysEqual, metaKeys } from '../keys';
import type { Column, TableShape } from '../table-shape';
import { fillTemplate } from '../template';

/** Bytes of text that PostgreSQL's jsonb holds in one object, with some room for the names. */
const mostBytes = 250_000_000;
/** Bytes, by an estimate from headers, below which nobody has to look closer. */
const surelyFits = 100_000_000;

export const inKeys = (alias: string) => (_: unknown, i: number) => `${alias}.key${i + 1}`;

/** A row as column → text; NULL where that is more than jsonb holds, so that no write ever fails for it. */
export function keptImage(columns: readonly (Column & { readonly at: string })[], alias: string): string {
  const image = imageOf(columns, alias);
  const sum = (sizes: readonly string[]) => sizes.join(' + ');
  const estimate = columns.flatMap((column) => sizeOf(column, `${alias}.${column.at}`));
  if (estimate.length === 0) return image;
  const exact = columns.flatMap((column) => {
    const value = `${alias}.${column.at}`;
    return column.size === 'stored'
      ? `coalesce(octet_length(${printed(column, value)})::int8, 0)`
      : sizeOf(column, value);
  });
  return `CASE WHEN ${sum(estimate)} <= ${surelyFits} THEN ${image} WHEN ${sum(exact)} <= ${mostBytes} THEN ${image} END`;
}

/**
 * The version under whose name a row stands, as `own.version`, where the table shows a row that is composed of several: then it
 * lies whole among the siblings.
 */
export const ownVersion = `LEFT JOIN LATERAL (SELECT v AS version FROM jsonb_array_elements(m.siblings) AS v
  WHERE (v ->> 'stamp')::int8 = m.stamp AND v ->> 'origin' = m.origin) AS own ON true`;

/** That version's deletion and image; the table's row where it is the version's own. */
export const ownDeleted = `coalesce((own.version ->> 'deleted')::bool, m.deleted)`;
export const ownImage = (image: string): string =>
  `CASE WHEN own.version IS NULL THEN ${image} ELSE nullif(own.version -> 'image', 'null') END`;

/**
 * Records what this transaction has written of the rows whose keys are `source` (as key1, key2, …), and lets go of what is beyond
 * the number that is kept. Two statements.
 */
export function writtenStatements(shape: TableShape, source: string, image?: string): string {
  const columns = shape.columns.map((column) => ({ ...column, at: column.ident }));
  return fillTemplate('history-written.sql', {
    history: shape.history,
    meta: shape.meta,
    relation: shape.name,
    source,
    image: image ?? keptImage(columns, 'd'),
    keys: metaKeys(shape),
    keyOfMeta: metaKeys(shape, 'm'),
    metaIsKey: keysEqual(shape, inMeta('m'), inKeys('k')),
    historyIsMeta: keysEqual(shape, inKeys('o'), inMeta('m')),
    dataIsMeta: keysEqual(shape, inData('d'), inMeta('m')),
    maxVersions: String(shape.maxVersions),
  });
}

/** Lets go of what is beyond the number that is kept, of the rows whose keys are `source`. */
export function trimStatement(shape: TableShape, source: string): string {
  return `DELETE FROM ${shape.history} WHERE ctid = ANY (ARRAY(
    SELECT h.place FROM (${source}) AS k, LATERAL (SELECT o.ctid AS place FROM ${shape.history} AS o
      WHERE ${keysEqual(shape, inKeys('o'), inKeys('k'))} ORDER BY o.stamp DESC, o.origin DESC OFFSET ${shape.maxVersions}) AS h))`;
}
