import { formatCursor, type Guards } from '@pgmesh/core';
import { fromWireGuards } from '@pgmesh/wire';
import type { QueryConfig } from 'pg';
import { prepared } from '../prepared';

/** The guards of a table as they lie in p2p.tracked_table: as on the wire. */
export interface GuardRow {
  readonly name: string;
  readonly guards: readonly (readonly { readonly node: string; readonly at: string }[])[];
}

interface Self {
  readonly nodeId: string;
  readonly epoch: string;
}

/** The tables of which something has been forgotten. */
export const guardedTables: QueryConfig = prepared(
  `SELECT t.name, t.guards FROM p2p.tracked_table AS t WHERE t.guards <> '[]' ORDER BY t.id`,
  [],
);

/** By table. Our own marks go on in the present incarnation, which went on in our transactions. */
export function toGuards(rows: readonly GuardRow[], { nodeId, epoch }: Self): Map<string, Guards> {
  return new Map(
    rows.map(({ name, guards }) => [
      name,
      fromWireGuards({ [name]: guards }, name).map((marks) =>
        marks.map((mark) => (mark.node === nodeId ? { ...mark, epoch } : mark)),
      ),
    ]),
  );
}

export function writeGuards(tableId: number, guards: Guards): QueryConfig {
  const rows = guards.map((marks) =>
    marks.map(({ node, epoch, snapshot }) => ({ node, at: formatCursor({ epoch, snapshot }) })),
  );
  return prepared('UPDATE p2p.tracked_table SET guards = $2 WHERE id = $1', [tableId, JSON.stringify(rows)]);
}
