import { type Column, type ColumnType, type Guard, literal, type Schema, type Table } from './schema';

/** The tables first, then their keys, then their references: those may go in circles. */
export function ddlOf({ tables }: Schema): string {
  return [
    ...preamble(tables),
    ...tables.flatMap(created),
    ...tables.flatMap(({ keys }) => keys.map(({ ddl }) => ddl)),
    ...tables.flatMap(({ references }) => references.map(({ ddl }) => ddl)),
    ...tables.flatMap(({ name, guards }) =>
      guards.flatMap((guard, i) => guarding(name, `${name}_guard${i + 1}`, guard)),
    ),
  ].join(';\n');
}

const sqlTypes: Partial<Record<ColumnType, string>> = { nocase: 'text COLLATE nocase' };
const sqlType = (type: ColumnType) => sqlTypes[type] ?? type;

/** What a column of a domain is checked for besides: generated values all pass. */
const domainChecks: Record<ColumnType, string> = {
  int: 'VALUE > -100',
  numeric: 'VALUE > -100',
  uuid: 'VALUE IS NOT NULL OR true',
  text: 'length(VALUE) < 100',
  nocase: 'length(VALUE) < 100',
  citext: 'length(VALUE::text) < 100',
};

/** Collations, types and extensions, of those that are used. */
function preamble(tables: readonly Table[]): string[] {
  const columns = tables.flatMap((table) => table.columns);
  const uses = (type: ColumnType) => columns.some((column) => column.type === type);
  const overlaps = tables.some(({ keys }) => keys.some(({ ddl }) => /USING gist \(\w+ WITH/.test(ddl)));
  const domains = new Set(columns.flatMap(({ type, domain }) => (domain ? [type] : [])));
  return [
    ...(uses('citext') ? ['CREATE EXTENSION citext'] : []),
    ...(overlaps ? ['CREATE EXTENSION btree_gist'] : []),
    ...(uses('nocase')
      ? [`CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`]
      : []),
    ...[...domains].map((type) => `CREATE DOMAIN some_${type} AS ${sqlType(type)} CHECK (${domainChecks[type]})`),
  ];
}

function created({ name, columns, key, checks, partitioning }: Table): string[] {
  const parts = [
    ...columns.map(defined),
    `PRIMARY KEY (${key.join(', ')})`,
    ...checks.map(({ sql }) => `CHECK (${sql})`),
  ];
  const by = partitioning ? ` PARTITION BY ${partitioning.by} (${partitioning.column})` : '';
  return [
    `CREATE TABLE ${name} (${parts.join(', ')})${by}`,
    ...(partitioning?.partitions ?? []).map((one) => `CREATE TABLE ${one.name} PARTITION OF ${name} ${one.bounds}`),
  ];
}

function defined({ name, type, domain, notNull, preset, identity, generated }: Column): string {
  return [
    `${name} ${domain ? `some_${type}` : sqlType(type)}`,
    ...(notNull ? ['NOT NULL'] : []),
    ...(preset === null ? [] : [`DEFAULT ${literal(preset)}`]),
    ...(identity ? [`GENERATED ${identity} AS IDENTITY`] : []),
    ...(generated ? [`GENERATED ALWAYS AS (${generated.sql}) STORED`] : []),
  ].join(' ');
}

function guarding(table: string, name: string, { sql, always, when }: Guard): string[] {
  const trigger = when === 'DEFERRED' ? `CONSTRAINT TRIGGER ${name} AFTER` : `TRIGGER ${name} ${when}`;
  const late = when === 'DEFERRED' ? ' DEFERRABLE INITIALLY DEFERRED' : '';
  const holds = sql.replace(/\b([nmt])\b/g, 'NEW.$1');
  return [
    `CREATE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       IF NOT (${holds}) THEN RAISE EXCEPTION '${name} raises'; END IF; RETURN NEW; END $$`,
    `CREATE ${trigger} INSERT OR UPDATE ON ${table}${late} FOR EACH ROW EXECUTE FUNCTION ${name}()`,
    ...(always ? [`ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${name}`] : []),
  ];
}
