import type { EngineFault } from './planted-engine';

const sql = (name: string) => `libs/store/src/sql/${name}.sql`;
const migration = 'migrations/001_p2p.sql';
const mergeSql = 'libs/store/src/apply/merge-sql.ts';
const windowQuery = 'libs/store/src/feed/window-query.ts';
const windowReader = 'libs/store/src/feed/window-reader.ts';
const transaction = 'libs/store/src/apply/merge-transaction.ts';

const fault = (name: string, file: string, words: string, instead: string): EngineFault => ({
  name,
  slips: [{ file, words, instead }],
});

/** What goes wrong in systems of this kind, planted into capture, feed and merge one at a time. */
export const engineFaults: readonly EngineFault[] = [
  // Stamps
  fault("a stamp is of its transaction's start", migration, 'pg_catalog.clock_timestamp()', 'pg_catalog.now()'),
  fault(
    'a stamp is the clock, whatever the row was stamped before',
    sql('supersession'),
    'greatest(excluded.stamp, m.stamp + 1, ',
    'greatest(excluded.stamp, ',
  ),
  fault(
    "a stamp passes over the siblings'",
    sql('supersession'),
    'CASE WHEN m.siblings IS NOT NULL THEN p2p.highest_stamp(m.siblings) + 1 END',
    'NULL',
  ),

  // Capture
  fault('values that are equal are taken for the same', sql('capture-update'), 'o.* *<> n.*', 'o.* <> n.*'),
  fault('a row that did not change takes a new version', sql('capture-update'), 'ELSE o.* *<> n.*', 'ELSE true'),
  fault(
    'a key that moves leaves no tombstone',
    sql('capture-update'),
    'WHEN n.{{firstKey}} IS NULL THEN NOT {{has}}({{keyOfOld}})',
    'WHEN n.{{firstKey}} IS NULL THEN false',
  ),
  fault(
    'TRUNCATE is not captured',
    'libs/store/src/tracking.ts',
    `{ name: 'p2p_truncate', when: 'TRUNCATE', tables: null },`,
    '',
  ),
  fault(
    'a write over siblings takes the past of the visible version alone',
    migration,
    "SELECT s->'past', s->>'origin', (s->>'stamp')::int8 FROM jsonb_array_elements(coalesce($4, '[]')) AS s",
    'SELECT NULL, NULL, NULL WHERE false',
  ),
  fault(
    'a write forgets the version that it is made over',
    migration,
    'SELECT v.origin, v.stamp FROM version AS v',
    'SELECT v.origin, v.stamp FROM version AS v WHERE false',
  ),
  {
    name: 'a write by the same origin over siblings keeps the past as it was',
    slips: [
      {
        file: sql('supersession'),
        words: 'm.origin = excluded.origin AND m.siblings IS NULL',
        instead: 'm.origin = excluded.origin',
      },
    ],
  },
  fault('a write leaves the siblings where they were', sql('supersession'), 'siblings = NULL,', ''),
  fault('a write of our own over what a peer sent keeps its way', sql('supersession'), 'via = NULL', 'via = m.via'),
  {
    name: 'suppression is a setting of the session',
    slips: [
      { file: transaction, words: "|| ' apply', true)", instead: "|| ' apply', false)" },
      {
        file: sql('capture'),
        words: "IF mode = pg_current_xact_id()::text || ' apply' THEN",
        instead: "IF mode LIKE '% apply' THEN",
      },
    ],
  },

  // Feed
  fault(
    'a cursor passes over what was in progress when it was taken',
    windowReader,
    'snapshot: parsePgSnapshot(present)',
    'snapshot: { ...parsePgSnapshot(present), xip: [] }',
  ),
  fault(
    'a window does not look for what was in progress at its cursor',
    windowQuery,
    'WHERE v.xid = ANY (${args.xip}) AND ${isIn}',
    'WHERE v.xid = ANY (${args.xip}) AND false',
  ),
  fault(
    'a cursor is the oldest transaction in progress',
    windowReader,
    'snapshot: parsePgSnapshot(present)',
    "snapshot: { xmax: BigInt(present.split(':')[0]!), xip: [] }",
  ),
  fault(
    'the tables of a window are read one after another, each as it is then',
    windowReader,
    'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY',
    'BEGIN READ ONLY',
  ),
  fault(
    'a window that was cut moves its reader to the end',
    windowReader,
    '(cut === null ? shown : cutSnapshot(from, shown, cut))',
    'shown',
  ),
  fault(
    'a window that was cut tells what only its end may tell',
    transaction,
    '!isPartial(this.head)',
    '!this.head.held',
  ),
  fault(
    'a window that was cut tells that all was seen',
    'libs/store/src/feed/feed.ts',
    '...(cut === null && { seen',
    '...(true && { seen',
  ),
  fault(
    'a newer version counts as made when the one before it was',
    mergeSql,
    'made_xid = s.v9::text::xid8',
    'made_xid = coalesce(m.made_xid, s.v9::text::xid8)',
  ),
  fault(
    'tombstones are not sent',
    windowQuery,
    'FROM ${versions} AS m LEFT JOIN ${shape.name} AS d',
    'FROM ${versions} AS m JOIN ${shape.name} AS d',
  ),
  fault('siblings are not sent', windowQuery, "'m.siblings'", "'NULL::jsonb'"),

  // Merge
  fault(
    'of two versions the later stamp is newer (clocks instead of vectors)',
    mergeSql,
    'WHEN (s.v4 ->> m.origin)::int8 >= m.stamp THEN ${newer}',
    "WHEN s.v1 > m.stamp THEN 'newer'",
  ),
  fault(
    'versions of one stamp are one version',
    mergeSql,
    'WHEN m.origin = s.v2 THEN',
    'WHEN m.origin = s.v2 OR m.stamp = s.v1 THEN',
  ),
  fault(
    'what covers the visible version replaces the siblings too',
    mergeSql,
    'WHEN m.siblings IS NOT NULL OR s.v6 IS NOT NULL THEN',
    'WHEN s.v6 IS NOT NULL THEN',
  ),
  fault(
    'a version that comes with siblings is judged without them',
    mergeSql,
    'WHEN m.siblings IS NOT NULL OR s.v6 IS NOT NULL THEN',
    'WHEN m.siblings IS NOT NULL THEN',
  ),
  fault(
    'a row that is new here comes without its siblings',
    mergeSql,
    's.v5, s.v6, s.v7, ${via}, pg_current_xact_id(), ${madeIn}',
    's.v5, NULL, s.v7, ${via}, pg_current_xact_id(), ${madeIn}',
  ),
  fault(
    'a tombstone is noted and the row stays',
    'libs/store/src/apply/merge.ts',
    '...(deleted > 0 ? [this.query(remove)] : []),',
    '',
  ),
  fault(
    'what was received is not passed on',
    'libs/store/src/feed/left-out.ts',
    '(v.via IS NULL OR v.via <> ALL (${args.except}))',
    '(v.via IS NULL OR v.via <> ALL (${args.except}) AND false)',
  ),
  fault(
    'a merged row counts as what its sender has',
    'libs/store/src/apply/standing.ts',
    'via: asSent ? via : null',
    'via',
  ),
  fault(
    'the position is committed before the rows',
    transaction,
    "if (this.after === null) await this.client.query('ROLLBACK');",
    `if (this.after === null) await this.client.query('ROLLBACK');
    else if (this.head.kind === 'window' && !('early' in this)) {
      const { before, after } = this;
      await this.client.query('ROLLBACK');
      await this.client.query(writePosition(this.head.node, after));
      this.opened.clear();
      await Object.assign(this, { early: true }).begin(stages);
      Object.assign(this, { before, after });
      return true;
    }`,
  ),
];
