import type { Queryable } from '../database';
import type { KeyColumn, TableShape } from '../table-shape';
import { typed } from '../typed-text';

/**
 * The order of a table's keys in which ranges are told: that of its primary key's index, where both nodes have the same; else that of their
 * texts by bytes, for which no index helps.
 */
export class KeyOrder {
  private constructor(
    private readonly shape: TableShape,
    readonly isIndexed: boolean,
  ) {}

  static byIndex(shape: TableShape): KeyOrder {
    return new KeyOrder(shape, true);
  }

  static byText(shape: TableShape): KeyOrder {
    return new KeyOrder(shape, false);
  }

  /** The key as ordered, of which `side` gives the columns. */
  expressions(side: (column: KeyColumn, i: number) => string): string[] {
    return this.shape.key.map((column, i) => this.ordered(side(column, i)));
  }

  /** `key` is not before the key whose texts are the parameters from `$first` on. */
  isFrom(key: readonly string[], first: number): string {
    return this.compare(key, '>=', first);
  }

  isBefore(key: readonly string[], first: number): string {
    return this.compare(key, '<', first);
  }

  private compare(key: readonly string[], sign: string, first: number): string {
    const operator = this.isIndexed ? this.shape.key[0]!.after.replace(/>$/, sign) : `pg_catalog.${sign}`;
    const bound = this.shape.key.map((column, i) =>
      this.isIndexed ? typed(column, `$${first + i}::text`) : `$${first + i}::text`,
    );
    return `(${key.join(', ')}) OPERATOR(${operator}) (${bound.join(', ')})`;
  }

  private ordered(value: string): string {
    return this.isIndexed ? value : `${value}::text COLLATE "C"`;
  }
}

/**
 * Names the order of the primary key's index: nodes with one name have the same order. Null where ranges of it cannot be asked for.
 * Collations go by what PostgreSQL has of them, and by the version of the library that sorts.
 */
export async function orderName(db: Queryable, shape: TableShape): Promise<string | null> {
  const operators = new Set(shape.key.map(({ after }) => after));
  if (operators.size > 1 || !shape.key.every(({ after }) => /\.>$/.test(after))) return null;
  const { rows } = await db.query<{ name: string }>(
    `SELECT string_agg(concat_ws(' ', k.type, e.labels, c.facts), ', ' ORDER BY k.position) AS name
     FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS k (name, type, position)
       JOIN pg_attribute AS a ON a.attrelid = $1::oid AND a.attname = k.name
       LEFT JOIN LATERAL (SELECT string_agg(l.enumlabel, ' ' ORDER BY l.enumsortorder) AS labels
         FROM pg_enum AS l WHERE l.enumtypid = a.atttypid) AS e ON true
       LEFT JOIN LATERAL (${collation}) AS c ON true`,
    [shape.oid, shape.key.map(({ name }) => name), shape.key.map(({ base }) => base)],
  );
  return rows[0]!.name;
}

/** What a column's collation sorts by, the database's own where it is that. Some of these columns have another name in PostgreSQL 17. */
const collation = `SELECT concat_ws(' ', pg_encoding_to_char(d.encoding), CASE c.collprovider
    WHEN 'd' THEN concat_ws(' ', d.datlocprovider, d.datcollate, to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale',
      pg_database_collation_actual_version(d.oid))
    ELSE concat_ws(' ', c.collprovider, c.collcollate, to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collisdeterministic,
      pg_collation_actual_version(c.oid)) END) AS facts
  FROM pg_collation AS c, pg_database AS d WHERE c.oid = a.attcollation AND d.datname = current_database()`;
