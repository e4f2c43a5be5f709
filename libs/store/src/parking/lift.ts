import type { PoolClient } from 'pg';
import { versionTypes } from '../apply/stage';
import { renumbering, updatedColumns } from '../apply/merge-sql';
import { sqlState } from '../database';
import { inData, inMeta, keysEqual } from '../keys';
import { assertShapes, type Column, type TableShape } from '../table-shape';
import { typed } from '../typed-text';
import type { ParkedNote } from './record';

interface LiftedColumn {
  readonly ident: string;
  readonly definition: string;
  readonly generated: string | null;
  readonly preset: string | null;
}

/**
 * A table without constraints that rows of a shared table are copied into while it is decided which of them stand: `rows`, as they will
 * be, and `gone`, as they stood. They last for one transaction.
 */
export class Lift {
  readonly rows: string;
  readonly gone: string;
  /** The table as a merge sees it: its rows lie here, and a row that nobody wrote is tried on a table with the constraints of a row alone. */
  readonly shape: TableShape;
  /** Rows that a merge has parked, since their values cannot be put anywhere here. */
  readonly unread: ParkedNote[] = [];
  private readonly trial: string;
  private readonly texts: string[] = [];
  private readonly idents: string;
  private readonly indexed = new Set<string>();

  private constructor(
    private readonly client: PoolClient,
    readonly table: TableShape,
    private readonly presets: ReadonlyMap<string, string>,
  ) {
    this.rows = `p2p.lift_${table.id}`;
    this.gone = `p2p.gone_${table.id}`;
    this.trial = `p2p.trial_${table.id}`;
    this.shape = { ...table, relation: this.rows, lifted: { trial: this.trial, unread: this.unread } };
    this.idents = table.columns.map(({ ident }) => ident).join(', ');
  }

  /** @throws ShapeChanged: of a column that we do not know, rows would come back without their values */
  static async open(client: PoolClient, table: TableShape): Promise<Lift> {
    await client.query(`LOCK TABLE ${table.name} IN ROW EXCLUSIVE MODE`);
    await assertShapes(client, [table]);
    const { rows: columns } = await client.query<LiftedColumn>(columnsQuery, [table.oid]);
    const presets = columns.flatMap(({ ident, preset }) => (preset === null ? [] : [[ident, preset] as const]));
    const lift = new Lift(client, table, new Map(presets));
    await lift.create(columns);
    return lift;
  }

  private async create(columns: readonly LiftedColumn[]): Promise<void> {
    const plain = columns.map(({ ident, definition, generated, preset }) => {
      const value = generated === null ? preset && ` DEFAULT ${preset}` : ` GENERATED ALWAYS AS (${generated}) STORED`;
      return `${ident} ${definition}${value ?? ''}`;
    });
    const keys = this.table.key.map(({ ident }) => ident).join(', ');
    for (const statement of [
      `CREATE UNLOGGED TABLE ${this.rows} (${plain.join(', ')}) WITH (autovacuum_enabled = off)`,
      `CREATE UNIQUE INDEX ON ${this.rows} (${keys})`,
      `CREATE UNLOGGED TABLE ${this.gone} (LIKE ${this.rows} INCLUDING GENERATED) WITH (autovacuum_enabled = off)`,
      `CREATE UNLOGGED TABLE ${this.trial} (LIKE ${this.table.name} INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING DEFAULTS)`,
      `CREATE UNIQUE INDEX ON ${this.trial} (${keys})`,
    ]) {
      await this.client.query(statement);
    }
    // What an index computes may raise; whether another row has it is not asked here.
    const { rows: indexes } = await this.client.query<{ definition: string }>(indexesQuery, [this.table.oid]);
    for (const { definition } of indexes) await this.client.query(`CREATE INDEX ON ${this.trial} USING${definition}`);
  }

  /** A table for a stage's rows as texts: v1…v9 as they are, all of the table's own columns as one array. */
  async textTable(): Promise<string> {
    const name = `p2p.texts_${this.table.id}_${this.texts.length + 1}`;
    await this.client.query(
      `CREATE UNLOGGED TABLE ${name} (n int4 PRIMARY KEY GENERATED ALWAYS AS IDENTITY, ${versionTypes.map((type, i) => `v${i + 1} ${type}`).join(', ')}, c text[])
       WITH (autovacuum_enabled = off)`,
    );
    this.texts.push(name);
    return name;
  }

  /** Makes lifted rows be found by these columns. */
  async index(idents: readonly string[]): Promise<void> {
    const columns = idents.join(', ');
    if (this.indexed.has(columns)) return;
    await this.client.query(`CREATE INDEX ON ${this.rows} (${columns})`);
    this.indexed.add(columns);
  }

  async drop(): Promise<void> {
    await this.client.query(`DROP TABLE ${[this.rows, this.gone, this.trial, ...this.texts].join(', ')}`);
  }

  /**
   * Lifts rows of the table, `d`, for which there is a row `from` that answers to the condition. They are locked; until `putAllBut` the table
   * still has them, and everything here looks past them.
   * @param withs WITH queries that `from` names
   */
  async lift(
    from: string,
    condition: string,
    values: readonly unknown[] = [],
    withs: readonly string[] = [],
  ): Promise<void> {
    await this.client.query(
      `WITH ${[
        ...withs,
        `moved AS MATERIALIZED (SELECT ${this.listed('d')} FROM ${this.table.name} AS d
          WHERE EXISTS (SELECT FROM ${from} WHERE ${condition}) AND ${this.stands('d')} ORDER BY ${this.keys('d')} FOR UPDATE OF d)`,
        `gone AS (INSERT INTO ${this.gone} (${this.idents}) SELECT * FROM moved)`,
      ].join(', ')}
       INSERT INTO ${this.rows} (${this.idents}) SELECT * FROM moved`,
      [...values],
    );
  }

  /**
   * Takes rows out of the table, once everything has been put: `USING from WHERE condition`, over `d`.
   * @returns their places
   */
  async takeOut(from: string, condition: string, values: readonly unknown[] = []): Promise<string[]> {
    const { rows } = await this.client.query<{ place: string }>(
      `WITH moved AS (DELETE FROM ${this.table.name} AS d USING ${from} WHERE ${condition} RETURNING ${this.listed('d')}),
         gone AS (INSERT INTO ${this.gone} (${this.idents}) SELECT * FROM moved)
       INSERT INTO ${this.rows} (${this.idents}) SELECT * FROM moved RETURNING ctid::text AS place`,
      [...values],
    );
    return rows.map(({ place }) => place);
  }

  /** Whether a row of the table was not lifted. */
  stands(alias: string): string {
    return `NOT EXISTS (SELECT FROM ${this.gone} AS g WHERE ${keysEqual(this.table, inData('g'), inData(alias))})`;
  }

  /** Takes parked rows, by the ids of their records, as if they stood. */
  async takeParked(ids: readonly number[]): Promise<void> {
    const { table } = this;
    const values = table.columns.map((column) => {
      const text = `(b.image ->> '${column.name.replace(/'/g, "''")}')`;
      const value = typed({ type: column.base }, text);
      const preset = this.presets.get(column.ident);
      // A default may be of another type, as current_user is in a column of texts, and CASE would make all values of that type.
      return preset === undefined
        ? value
        : `CASE WHEN b.image ? '${column.name.replace(/'/g, "''")}' THEN ${value} ELSE (${preset})::${column.base} END`;
    });
    await this.client.query(
      `WITH back AS (
         UPDATE ${table.meta} AS m SET deleted = false,
           siblings = CASE WHEN p.composed THEN m.siblings ELSE p2p.without(m.siblings, m.stamp, m.origin) END
         FROM p2p.parked AS p WHERE p.id = ANY ($1::int8[]) AND ${isParked(table)}
           -- A column that has just been renamed would come back without its value: see followNames.
           AND NOT EXISTS (SELECT FROM jsonb_object_keys(p.image) AS k WHERE k <> ALL ($2))
         RETURNING p.image
       ) INSERT INTO ${this.rows} (${this.idents}) SELECT ${values.join(', ')} FROM back AS b`,
      [ids, table.columns.map(({ name }) => name)],
    );
  }

  /** Tries the rows at these places on the table, in place of those that were lifted. */
  async tryPut(places: readonly string[]): Promise<void> {
    await this.removeLifted();
    await this.insertInto(this.table.name, places);
  }

  /** Puts the rows at these places where only what a row is by itself is looked at. */
  async tryOut(places: readonly string[]): Promise<void> {
    await this.insertInto(this.trial, places);
  }

  private async insertInto(table: string, places: readonly string[]): Promise<void> {
    await this.client.query(
      `INSERT INTO ${table} (${this.idents}) OVERRIDING SYSTEM VALUE
       SELECT ${this.listed('l')} FROM ${this.rows} AS l WHERE l.ctid = ANY ($1::tid[])`,
      [places],
    );
  }

  /**
   * Puts all rows but those at these places into the table. One that stood there is updated where it is, so that a write which waits for it
   * goes on with it as it is then; only where rows change keys among each other are they put there anew.
   * @returns the places of those that a trigger has left out
   */
  async putAllBut(places: readonly string[]): Promise<string[]> {
    const { client } = this;
    await client.query('SAVEPOINT in_place');
    try {
      const leftOut = await this.putInPlace(places);
      await client.query('RELEASE SAVEPOINT in_place');
      return leftOut;
    } catch (error) {
      const state = sqlState(error);
      if (state !== '23505' && state !== '23P01') throw error;
      await client.query('ROLLBACK TO SAVEPOINT in_place');
      // A write that waits for a row would find it deleted, and change nothing: writers wait for all of it, or we for them.
      await client.query(`LOCK TABLE ${this.table.name} IN EXCLUSIVE MODE`);
      await this.removeLifted();
      return this.leftOut(places, await this.insert(places, 'true'), null);
    }
  }

  private async putInPlace(places: readonly string[]): Promise<string[]> {
    const { table, client } = this;
    const isKept = `EXISTS (SELECT FROM kept AS l WHERE ${keysEqual(table, inData('l'), inData('g'))})`;
    await client.query(
      `WITH kept AS (${this.keptBut})
       DELETE FROM ${table.name} AS d USING ${this.gone} AS g WHERE ${keysEqual(table, inData('d'), inData('g'))} AND NOT ${isKept}`,
      [places],
    );
    const value = (column: Column) => `l.${column.ident}`;
    const sameKey = keysEqual(table, inData('d'), inData('l'));
    const renumber = renumbering(
      { shape: table, columns: table.columns },
      'kept AS l',
      sameKey,
      value,
      `kept AS (${this.keptBut})`,
    );
    if (renumber) await client.query(renumber, [places]);
    const updates = updatedColumns(table, table.columns).map((column) => `${column.ident} = ${value(column)}`);
    const { rows: stood } = await client.query<{ place: string }>(
      updates.length > 0
        ? `UPDATE ${table.name} AS d SET ${updates.join(', ')} FROM ${this.others}
           WHERE o.place IS NULL AND ${sameKey} RETURNING l.ctid::text AS place`
        : `SELECT l.ctid::text AS place FROM ${this.others} JOIN ${table.name} AS d ON ${sameKey} WHERE o.place IS NULL`,
      [places],
    );
    const isNew = `NOT EXISTS (SELECT FROM ${this.gone} AS g WHERE ${keysEqual(table, inData('g'), inData('l'))})`;
    const updated = stood.map(({ place }) => place);
    return this.leftOut(places, await this.insert(places, isNew), updated);
  }

  /**
   * Of all rows but those at these places, the ones that are not in the table as they should be.
   * @param updated the places of those that were updated where they stood; null where all were put anew
   */
  private async leftOut(
    places: readonly string[],
    inserted: number,
    updated: readonly string[] | null,
  ): Promise<string[]> {
    const { rows } = await this.client.query<{ count: number }>(`SELECT count(*) FROM ${this.rows}`);
    if (inserted + (updated ?? []).length === rows[0]!.count - places.length) return [];
    const isThere = `EXISTS (SELECT FROM ${this.table.name} AS d WHERE ${keysEqual(this.table, inData('d'), inData('l'))})`;
    const stood = `EXISTS (SELECT FROM ${this.gone} AS g WHERE ${keysEqual(this.table, inData('g'), inData('l'))})`;
    const { rows: missing } = await this.client.query<{ place: string }>(
      `SELECT l.ctid::text AS place FROM ${this.others}
         LEFT JOIN unnest($2::tid[]) AS u (place) ON u.place = l.ctid
       WHERE o.place IS NULL AND u.place IS NULL AND NOT (${isThere}${updated === null ? '' : ` AND NOT ${stood}`})`,
      [places, updated ?? []],
    );
    return missing.map(({ place }) => place);
  }

  private async insert(places: readonly string[], condition: string): Promise<number> {
    const { rowCount } = await this.client.query(
      `WITH kept AS (${this.keptBut}) INSERT INTO ${this.table.name} (${this.idents}) OVERRIDING SYSTEM VALUE
       SELECT ${this.listed('l')} FROM kept AS l WHERE ${condition} ORDER BY ${this.keys('l')}`,
      [places],
    );
    return rowCount ?? 0;
  }

  private async removeLifted(): Promise<void> {
    const isLifted = keysEqual(this.table, inData('d'), inData('g'));
    await this.client.query(`DELETE FROM ${this.table.name} AS d USING ${this.gone} AS g WHERE ${isLifted}`);
  }

  /** The lifted rows `l`; `o.place` is NULL but for those at the places that are the first parameter. */
  private get others(): string {
    return `${this.rows} AS l LEFT JOIN unnest($1::tid[]) AS o (place) ON o.place = l.ctid`;
  }

  private get keptBut(): string {
    return `SELECT l.* FROM ${this.others} WHERE o.place IS NULL`;
  }

  private keys(alias: string): string {
    return this.table.key.map(({ ident }) => `${alias}.${ident}`).join(', ');
  }

  /** The places of all rows but these, in the order of the primary key. */
  async placesBut(places: readonly string[]): Promise<string[]> {
    const { rows } = await this.client.query<{ place: string }>(
      `SELECT l.ctid::text AS place FROM ${this.others}
       WHERE o.place IS NULL ORDER BY ${this.keys('l')}`,
      [places],
    );
    return rows.map(({ place }) => place);
  }

  private listed(alias: string): string {
    return this.table.columns.map(({ ident }) => `${alias}.${ident}`).join(', ');
  }
}

/** Whether the metadata row `m` is of the record `p`'s row. */
export function isSameRow(shape: TableShape): string {
  const isKey = keysEqual(shape, inMeta('m'), (column, i) => typed({ type: column.base }, `p.key[${i + 1}]`));
  return `p.table_id = ${shape.id} AND ${isKey}`;
}

/** Whether it stands for the record's version, too. */
export function isSameVersion(shape: TableShape): string {
  return `${isSameRow(shape)} AND m.stamp = p.stamp AND m.origin = p.origin`;
}

/** Whether the record `p` holds of the metadata row `m`. */
export function isParked(shape: TableShape): string {
  return `${isSameVersion(shape)} AND m.deleted AND m.siblings IS NOT NULL`;
}

/** `l` joined to its metadata `m`. */
export function withMeta({ rows, table }: Lift): string {
  return `${rows} AS l JOIN ${table.meta} AS m ON ${keysEqual(table, inMeta('m'), inData('l'))}`;
}

/** As the table has them, but of the types under domains and without lengths: whatever came can lie here. */
const columnsQuery = `
  WITH RECURSIVE base AS (
    SELECT t.oid AS type, t.oid AS base FROM pg_type AS t WHERE t.typtype <> 'd'
    UNION ALL
    SELECT t.oid, b.base FROM pg_type AS t JOIN base AS b ON b.type = t.typbasetype WHERE t.typtype = 'd'
  )
  SELECT quote_ident(a.attname) AS ident,
    CASE WHEN a.attgenerated = '' THEN format_type(b.base, -1) ELSE format_type(a.atttypid, a.atttypmod) END
      || coalesce((SELECT format(' COLLATE %I.%I', n.nspname, o.collname) FROM pg_collation AS o
        JOIN pg_namespace AS n ON n.oid = o.collnamespace WHERE o.oid = a.attcollation), '') AS definition,
    CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END AS generated,
    CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS preset
  FROM pg_attribute AS a JOIN base AS b ON b.type = a.atttypid LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`;

/** Indexes over expressions and of some rows: all that comes after USING. */
const indexesQuery = `
  SELECT substr(pg_get_indexdef(x.indexrelid), 1 + length(format('CREATE %sINDEX %I ON %s%I.%I USING', CASE WHEN x.indisunique THEN 'UNIQUE ' END,
    i.relname, CASE i.relkind WHEN 'I' THEN 'ONLY ' END, n.nspname, t.relname))) AS definition
  FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
  WHERE x.indrelid = $1 AND (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL)`;
