import type { Random } from './random';

/** A value as its type's input function reads it. */
type Draw = (random: Random) => string;

/** What the types of the user's own are made of, as the catalog has it. */
export interface TypeCatalog {
  readonly enums: ReadonlyMap<string, readonly string[]>;
  readonly composites: ReadonlyMap<string, readonly string[]>;
}

const words = [
  'Ahorn',
  'Birke',
  'cedar',
  'Dogwood',
  'élan',
  'Föhre',
  "O'Brien",
  'a "b"',
  'c\\d',
  'NULL',
  '',
  '樹',
  '😀',
  '{x,y}',
  '(1,2)',
  'tab\there',
  ' two  ',
  'e\u0301',
  '\\N',
  '$1',
  '<a>',
];
const plainWords = ['ash', 'beech', 'cedar', 'elm', 'fir', 'hazel', 'larch', 'maple', 'oak', 'pine'];

const digits = (r: Random, n: number): string => r.times(n, n, () => r.between(0, 9)).join('');
const pad = (n: number): string => String(n).padStart(2, '0');
const text: Draw = (r) => r.times(0, 6, () => r.pick(words)).join(' ');
const integer =
  (low: number, high: number): Draw =>
  (r) =>
    r.chance(0.1) ? String(r.pick([low, high, 0])) : String(r.between(-999, 999));
const real: Draw = (r) =>
  r.chance(0.2) ? r.pick(['NaN', 'Infinity', '-Infinity', '-0', '1e-30', '0.1']) : String(r.next() * 1e6 - 5e5);
const numeric: Draw = (r) =>
  r.chance(0.15) ? r.pick(['NaN', '0.00', '1.0', '1.00', '-0.5']) : `${r.between(-9999, 9999)}.${digits(r, 2)}`;
const date: Draw = (r) => (r.chance(0.05) ? r.pick(['infinity', '-infinity', '0044-03-15 BC', '2024-02-29']) : day(r));
const day: Draw = (r) => `${r.between(1990, 2030)}-${pad(r.between(1, 12))}-${pad(r.between(1, 28))}`;
const time: Draw = (r) => `${pad(r.between(0, 23))}:${pad(r.between(0, 59))}:${pad(r.between(0, 59))}.${digits(r, 6)}`;
const zone: Draw = (r) => r.pick(['+00', '+05:30', '-11', '+14', '-03:30:15']);
const timestamp: Draw = (r) => (r.chance(0.05) ? r.pick(['infinity', '-infinity']) : `${day(r)} ${time(r)}`);
const interval: Draw = (r) =>
  `${r.between(-9, 9)} years ${r.between(-40, 40)} days ${r.between(-30, 30)} hours ${r.between(-9, 9)}.${digits(r, 3)} seconds`;
const pair = (r: Random): string => `(${r.between(-99, 99)}.${r.between(0, 9)},${r.between(-99, 99)}.25)`;
const bits =
  (low: number, high: number): Draw =>
  (r) =>
    r.times(low, high, () => r.between(0, 1)).join('');
const ip: Draw = (r) =>
  r.chance(0.3) ? `fe80::${r.hex(4)}` : `10.${r.between(0, 255)}.${r.between(0, 255)}.${r.between(1, 254)}`;
const bytes: Draw = (r) => `\\x${r.hex(2 * r.between(0, 40))}`;

function json(r: Random): string {
  const value = (depth: number): string => {
    if (depth > 2 || r.chance(0.5))
      return r.pick([
        'null',
        'true',
        '1.0',
        '1.00',
        '-0',
        '12345678901234567890.5',
        JSON.stringify(text(r)),
        String(r.between(-9, 9)),
      ]);
    if (r.chance(0.4)) return `[${r.times(0, 3, () => value(depth + 1)).join(', ')}]`;
    return `{${r.times(0, 3, () => `${JSON.stringify(r.pick(words))}: ${value(depth + 1)}`).join(',')}}`;
  };
  return value(0);
}

function xml(r: Random): string {
  const body = `<sheet n="${r.between(1, 99)}"><![CDATA[${r.pick(plainWords)}]]> &amp; ${r.pick(plainWords)}</sheet>`;
  return r.chance(0.3) ? `<?xml version="1.0" encoding="UTF-8"?>${body}` : body;
}

/** A range of values that are numbers inside: `print` tells them. */
function range(print: (n: number) => string): Draw {
  return (r) => {
    if (r.chance(0.1)) return 'empty';
    const from = r.between(1, 500);
    const ends = [r.chance(0.1) ? '' : `"${print(from)}"`, r.chance(0.1) ? '' : `"${print(from + r.between(1, 90))}"`];
    return `${r.pick(['[', '('])}${ends.join(',')}${r.pick([']', ')'])}`;
  };
}

function multirange(print: (n: number) => string): Draw {
  return (r) => `{${r.times(0, 3, () => range(print)(r)).join(',')}}`;
}

const asDay = (n: number): string => new Date(Date.UTC(2024, 0, n)).toISOString().slice(0, 10);
const asTime = (n: number): string => `${asDay(n)} 08:${pad(n % 60)}:00.000001`;
const asDecimal = (n: number): string => `${n}.50`;

const draws: Readonly<Record<string, Draw>> = {
  boolean: (r) => r.pick(['t', 'f']),
  '"char"': (r) => r.pick(['x', '"', ' ', '\\377', '']),
  name: (r) => r.pick(words),
  smallint: integer(-32768, 32767),
  integer: integer(-2147483648, 2147483647),
  bigint: (r) =>
    r.chance(0.1)
      ? r.pick(['9223372036854775807', '-9223372036854775808', '9007199254740993'])
      : String(r.between(-1e9, 1e9)),
  oid: (r) => String(r.between(0, 2 ** 31)),
  real,
  'double precision': real,
  numeric,
  money: (r) => `${r.between(-99999, 99999)}.${digits(r, 2)}`,
  text: (r) => (r.chance(0.02) ? text(r).repeat(400) : text(r)),
  'character varying': (r) => r.pick(words),
  character: (r) => r.pick(['a', 'bc ', '', 'ü']),
  json,
  jsonb: json,
  jsonpath: (r) => `$.a[*] ? (@.b > ${r.between(0, 9)})`,
  xml,
  bytea: bytes,
  date,
  'time without time zone': time,
  'time with time zone': (r) => time(r) + zone(r),
  'timestamp without time zone': timestamp,
  'timestamp with time zone': (r) => `${day(r)} ${time(r)}${zone(r)}`,
  interval,
  bit: bits(3, 3),
  'bit varying': bits(0, 20),
  uuid: (r) => uuid(r, 's'),
  inet: (r) => (r.chance(0.3) ? `10.1.2.3/${r.between(8, 32)}` : ip(r)),
  cidr: (r) => `10.${r.between(0, 255)}.0.0/16`,
  macaddr: (r) => `08:00:2b:${r.hex(2)}:${r.hex(2)}:${r.hex(2)}`,
  macaddr8: (r) => `08:00:2b:ff:fe:${r.hex(2)}:${r.hex(2)}:${r.hex(2)}`,
  point: (r) => (r.chance(0.1) ? '(NaN,-0)' : pair(r)),
  line: (r) => `{${r.between(1, 9)},-1,0.1}`,
  lseg: (r) => `[${pair(r)},${pair(r)}]`,
  box: (r) => `${pair(r)},${pair(r)}`,
  path: (r) => `[${r.times(1, 4, () => pair(r)).join(',')}]`,
  polygon: (r) => `(${r.times(2, 5, () => pair(r)).join(',')})`,
  circle: (r) => `<${pair(r)},${r.between(0, 99)}>`,
  tsvector: (r) => r.times(0, 4, () => `${r.pick(plainWords)}:${r.between(1, 99)}${r.pick(['', 'A', 'B'])}`).join(' '),
  tsquery: (r) => `${r.pick(plainWords)} & !${r.pick(plainWords)}:*`,
  pg_lsn: (r) => `${r.hex(2)}/${r.hex(6)}`,
  xid8: (r) => String(r.between(0, 1e9)),
  pg_snapshot: (r) => `${r.between(1, 10)}:20:${r.between(10, 15)}`,
  int4range: range(String),
  int8range: range(String),
  numrange: range(asDecimal),
  tsrange: range(asTime),
  tstzrange: range(asTime),
  daterange: range(asDay),
  int4multirange: multirange(String),
  int8multirange: multirange(String),
  nummultirange: multirange(asDecimal),
  tsmultirange: multirange(asTime),
  tstzmultirange: multirange(asTime),
  datemultirange: multirange(asDay),
  'crm.email': (r) => `${r.pick(plainWords)}+${r.between(0, 99)}@example.com`,
  'sales.quantity': (r) => String(r.between(0, 500)),
  'sales.sku': (r) => `${r.hex(4).toUpperCase()}-${r.between(10, 99)}`,
  '"Ops".temperatures': range(asDecimal),
};

/** Lengths and limits that only a modifier or a CHECK tells of. */
const limited: Readonly<Record<string, Draw>> = {
  'bit(7)': bits(7, 7),
  'bit(12)': bits(12, 12),
  'numeric(8,2)': numeric,
  'numeric(12,3)': numeric,
};

/** A uuid whose first digit tells who may delete it: a, b, or (5) nobody in particular. */
export function uuid(r: Random, owner: string): string {
  return `${owner === 's' ? '5' : owner}${r.hex(7)}-${r.hex(4)}-7${r.hex(3)}-8${r.hex(3)}-${r.hex(12)}`;
}

/** A value of a type, by its name with the modifier as PostgreSQL formats it. */
export function draw(r: Random, type: string, catalog: TypeCatalog): string {
  if (type.endsWith('[]')) {
    const element = type.slice(0, -2);
    // A box prints commas of its own, and its arrays are divided by semicolons.
    const items = r.times(0, 3, () => (r.chance(0.1) ? 'NULL' : quoted(draw(r, element, catalog))));
    return `{${items.join(element === 'box' ? ';' : ',')}}`;
  }
  const labels = catalog.enums.get(type);
  if (labels) return r.pick(labels);
  const fields = catalog.composites.get(type);
  if (fields) return `(${fields.map((field) => (r.chance(0.2) ? '' : quoted(draw(r, field, catalog)))).join(',')})`;
  const one = limited[type] ?? draws[type] ?? draws[type.replace(/\(\d+(,\d+)?\)/, '')];
  if (!one) throw new Error(`There is no generator for the type ${type}: add one to test/convergence/values.ts.`);
  return one(r);
}

function quoted(value: string): string {
  return `"${value.replace(/["\\]/g, '\\$&')}"`;
}
