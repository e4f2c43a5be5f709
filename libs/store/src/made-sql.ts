/** Where a version was made, told by the metadata row (or its alias) that it stands in: as SQL. */

/** The name of our own feed. */
export const ownFeed = `(SELECT n.node_id || '~' || n.incarnation FROM p2p.node AS n)`;

/** The feed; NULL for our own. */
export function madeIn(row: string): string {
  return `CASE WHEN ${row}.made_xid IS NOT NULL THEN coalesce(${row}.made_in, ${row}.via) END`;
}

/** The transaction. */
export function madeAt(row: string): string {
  return `coalesce(${row}.made_xid, ${row}.xid)`;
}

export function isMadeHere(row: string): string {
  return `(${row}.made_xid IS NULL OR ${row}.made_in IS NULL AND ${row}.via IS NULL)`;
}

/** Both, as they are kept with a sibling. */
export function made(row: string): string {
  return `jsonb_build_array(coalesce(${madeIn(row)}, ${ownFeed}), ${madeAt(row)}::text)`;
}

/** SET: a row that takes another place in our feed was made where it was. */
export function keepMade(row: string): string {
  return `made_in = CASE WHEN ${row}.made_xid IS NULL AND ${row}.via IS NOT NULL THEN ${ownFeed} ELSE ${row}.made_in END, made_xid = ${madeAt(row)}`;
}
