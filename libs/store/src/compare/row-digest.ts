import { printed } from '../feed/window-query';
import { isSettled, settledPast } from '../forgetting/let-go';
import { inData, inMeta, keysEqual } from '../keys';
import type { Column, TableShape } from '../table-shape';

/** Characters or bytes of a text or bytea above which it goes into a digest by a digest of its own, so that no value is held twice. */
const long = 1024;

/** What of rows is compared. */
export interface Compared {
  readonly columns: readonly string[];
  /** Rows that stand by the last write count as written over all their siblings, also those that have yet to let go of them. */
  readonly settled: boolean;
}

/**
 * What a digest of a row is made of, in SQL, where `m` is its metadata and `d` its row: texts that cannot be told apart only where the things are equal.
 * The order of the columns makes no difference. Both sides name the same columns: those that both have, and that none computes.
 */
export interface DigestTexts {
  readonly key: string;
  /** NULL where the table has no row. */
  readonly value: string;
  /** NULL where there is no metadata. */
  readonly version: string;
}

export function digestTexts(shape: TableShape, { columns, settled }: Compared): DigestTexts {
  const compared = shape.columns.filter(({ name }) => columns.includes(name));
  const sorted = [...compared].sort((a, b) => (a.name < b.name ? -1 : 1));
  const values = sorted.map((column) => brief(column, `d.${column.ident}`));
  return {
    key: `ARRAY[${shape.key.map((column, i) => `coalesce(m.key${i + 1}::text, d.${column.ident}::text)`).join(', ')}]`,
    value: `CASE WHEN d."p2p.there" THEN ARRAY[${values.join(', ')}]::text END`,
    // As in a window: the field stamps of a row that does not stand are of this node's making.
    version: `CASE WHEN m."p2p.there" THEN concat_ws(' ', m.stamp, m.origin, m.priority, m.deleted, coalesce(${past(settled)}::text, '-'),
      coalesce(CASE WHEN NOT m.deleted THEN m.fields END::text, '-'), ${several(settled, siblings)}::text) END`,
  };
}

/** SQL: what it says of the siblings of a metadata row `m` that has several versions; NULL where it has one, or counts as having one. */
export function several(settled: boolean, said: string): string {
  return `CASE WHEN m.siblings IS NOT NULL${settled ? ` AND NOT (${isSettled})` : ''} THEN ${said} END`;
}

/** What the version that stands was made over, or counts as made over. */
function past(settled: boolean): string {
  return settled ? `CASE WHEN ${isSettled} THEN ${settledPast} ELSE m.past END` : 'm.past';
}

/** Where a sibling was made is no part of what is compared: not every node has it beside the sibling. */
const siblings = `(SELECT jsonb_agg(s - 'made') FROM jsonb_array_elements(m.siblings) AS s)`;

/** 128 bits of a text, as bytes. */
export function digestOf(text: string): string {
  return `substring(sha256(convert_to(${text}, 'UTF8')), 1, 16)`;
}

/** As people and JSON have it. */
export function encoded(digest: string): string {
  return `encode(${digest}, 'base64')`;
}

export function wholeDigest({ key, value, version }: DigestTexts): string {
  return digestOf(`ARRAY[${key}::text, ${value}, ${version}]::text`);
}

/** Nothing but a tombstone: a node may have collected it already (see libs/core: isNothing). */
export function isGone(settled: boolean): string {
  return `m.deleted AND ${several(settled, 'true')} IS NULL AND d."p2p.there" IS NULL`;
}

/** Rows and metadata side by side, either of which may be missing: FULL JOIN over what the conditions leave of them. */
export function rowsAndVersions(shape: TableShape, inRange: { readonly data: string; readonly meta: string }): string {
  return `(SELECT true AS "p2p.there", m.* FROM ${shape.meta} AS m WHERE ${inRange.meta}) AS m
    FULL JOIN (SELECT true AS "p2p.there", d.* FROM ${shape.name} AS d WHERE ${inRange.data}) AS d ON ${keysEqual(shape, inData('d'), inMeta('m'))}`;
}

/** A value as text; a long one as a digest. The signs before keep the two apart. */
function brief(column: Column, value: string): string {
  if (column.size === 'octets') {
    return `CASE WHEN char_length(${value}) > ${long} THEN concat('#', encode(${digestOf(printed(column, value))}, 'hex')) ELSE '=' || ${printed(column, value)} END`;
  }
  if (column.size !== 'hex') return printed(column, value);
  return `CASE WHEN octet_length(${value}) > ${long} THEN concat('#', encode(substring(sha256(${value}), 1, 16), 'hex')) ELSE concat('=', ${value}) END`;
}
