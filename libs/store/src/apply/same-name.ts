import { escapeLiteral } from 'pg';
import { Problem } from '@pgmesh/wire';
import { printed } from '../feed/window-query';
import { inData, inMeta, inStage, keysEqual } from '../keys';
import type { Stage } from './stage';

/** A version that came with the name of one of ours and is another. */
export interface Impostor {
  readonly stamp: number;
  readonly origin: string;
}

/**
 * Finds a staged version that bears the name of ours and is not the same: two databases write under one origin (trap 9). Asked of
 * small windows alone, and where they have a version that we have already. A row says what its version wrote only while it has
 * no siblings, no write of it waits for its version, and it lies there as the version's own transaction left it: an ALTER TABLE
 * or a write past the triggers gives rows other values under their old names, and a column that is newer than the row its default.
 * Values are compared as our column prints them, which may round.
 */
export function impostorQuery({ shape, columns, source }: Stage): string {
  const differs = columns.map(
    (column, i) =>
      `${escapeLiteral(column.name)} <> ALL (a.later) AND ${printed(column, `s.c${i + 1}::${column.declared}`)} IS DISTINCT FROM ${printed(column, `d.${column.ident}`)}`,
  );
  return `SELECT s.v1 AS stamp, s.v2 AS origin
    FROM (${source}) AS s JOIN ${shape.meta} AS m ON ${keysEqual(shape, inMeta('m'), inStage('s'))}
      LEFT JOIN ${shape.relation} AS d ON ${keysEqual(shape, inData('d'), inStage('s'))} AND d.xmin = m.xid::xid
      CROSS JOIN LATERAL (SELECT ARRAY(SELECT c.attname::text FROM pg_attribute AS c
        WHERE c.attrelid = ${shape.oid} AND age(c.xmin) < age(d.xmin)) AS later) AS a
    WHERE m.stamp = s.v1 AND m.origin = s.v2 AND m.xid <> pg_current_xact_id() AND m.siblings IS NULL AND s.v6 IS NULL
      AND (m.deleted <> s.v7 OR m.priority <> s.v3
        OR NOT m.deleted AND d.${shape.key[0]!.ident} IS DISTINCT FROM NULL AND (${differs.join(' OR ')}))
      AND NOT EXISTS (SELECT FROM p2p.unversioned AS u WHERE u.table_id = ${shape.id}) LIMIT 1`;
}

export function impostorFound({ shape }: Pick<Stage, 'shape'>, { stamp, origin }: Impostor, sender: string): Problem {
  return new Problem(
    'cloned_node',
    `${sender} has a version of a row of ${shape.name}, ${stamp} of ${origin}, that is another here: two databases write under ` +
      `one name. One is a copy of the other, or was set back. Nothing of the window was applied. Stop the copy and give it a name ` +
      `of its own: pgmesh new-incarnation.`,
    { table: shape.name, stamp, origin },
  );
}
