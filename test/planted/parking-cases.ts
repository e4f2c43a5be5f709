import { int } from '../relational/conditions';
import type { Step } from '../relational/history';
import { keyRule, part } from '../relational/key-kinds';
import type { Column, ColumnType, KeyRule, Part, ReferenceRule, Schema, Table } from '../relational/schema';

/** A history that somebody has thought of: what it takes for a fault of parking to show. */
export interface ParkingCase {
  readonly schema: Schema;
  readonly steps: readonly Step[];
}

/** Clocks that stand still: every first write of a row has one stamp, a second the next. */
const grain = 1e14;

const column = (name: string, type: ColumnType = 'int'): Column => ({ name, type, notNull: false, preset: null });

function table(name: string, columns: readonly Column[], rest: Partial<Table> = {}): Table {
  const none = { keys: [], references: [], checks: [], guards: [], partitioning: null };
  const key = columns.filter((one) => /^k\d/.test(one.name)).map((one) => one.name);
  return { name, key, columns, ...none, strategy: 'last-write-wins', ...rest };
}

const schemaOf = (...tables: Table[]): Schema => ({ tables, skew: [0, 0, 0], priority: [0, 0, 0], grain });

function unique(on: string, column: Column, options: { nullsEqual?: boolean; late?: boolean } = {}): KeyRule {
  const { nullsEqual = false, late = false } = options;
  const nulls = nullsEqual ? ' NULLS NOT DISTINCT' : '';
  const when = late ? ' DEFERRABLE INITIALLY DEFERRED' : '';
  const ddl = `ALTER TABLE ${on} ADD UNIQUE${nulls} (${column.name})${when}`;
  return keyRule(`${on}_${column.name}_key`, ddl, [part(column)], { nullsEqual });
}

function references(child: string, column: string, parent: string, parentColumn = 'k1'): ReferenceRule {
  const name = `${child}_${column}_fkey`;
  const ddl = `ALTER TABLE ${child} ADD CONSTRAINT ${name} FOREIGN KEY (${column}) REFERENCES ${parent} (${parentColumn})`;
  return { name, ddl, columns: [column], parent, parentColumns: [parentColumn], full: false };
}

const [k1, n, m] = ['k1', 'n', 'm'].map((name) => column(name)) as [Column, Column, Column];
const [u, t] = ['u', 't'].map((name) => column(name, 'text')) as [Column, Column];

const on = 'abc';
const write = (node: string, ...statements: string[]): Step => ({ do: 'write', node: on.indexOf(node), statements });
const pull = (way: string): Step => ({ do: 'pull', from: on.indexOf(way[0]!), to: on.indexOf(way[1]!) });
const at = (what: 'settle' | 'wait' | 'check', node: string): Step => ({ do: what, node: on.indexOf(node) });
const everywhere = ['ab', 'bc'].map(pull);
const each = (statement: string): Step[] => [...on].map((node) => write(node, statement));

const mail = schemaOf(table('p', [k1, u, n], { keys: [unique('p', u)] }));
const twoOfOneMail = [
  write('a', `INSERT INTO p VALUES (2, 'x')`),
  write('b', `INSERT INTO p VALUES (1, 'x')`),
  pull('ac'),
  pull('bc'),
];

const several = [
  write('a', `INSERT INTO p VALUES (1, 'x')`),
  ...everywhere,
  write('a', `UPDATE p SET u = 'y' WHERE k1 = 1`),
  write('b', `UPDATE p SET u = 'z' WHERE k1 = 1`),
  write('c', `INSERT INTO p VALUES (2, 'z')`, `UPDATE p SET n = 1 WHERE k1 = 2`, `UPDATE p SET n = 2 WHERE k1 = 2`),
  pull('ac'),
  pull('bc'),
];

const isLarge = { sql: 'm > 1', holds: (row: Parameters<Part['of']>[0]) => (int(row, 'm') ?? 0) > 1 };
const partial = keyRule('q_n', 'CREATE UNIQUE INDEX q_n ON q (n) WHERE m > 1', [part(n)], { predicate: isLarge });

const inFirst = {
  name: 'l_p1',
  bounds: 'FOR VALUES IN (1, 2)',
  takes: (row: Parameters<Part['of']>[0]) => ['1', '2'].includes(row.k1!),
};
const inRest = { name: 'l_p2', bounds: 'DEFAULT', takes: (row: Parameters<Part['of']>[0]) => !inFirst.takes(row) };
const ofFirst = unique('l_p1', n);
const partitioned = table('l', [k1, n], {
  partitioning: { by: 'LIST', column: 'k1', partitions: [inFirst, inRest] },
  keys: [{ ...ofFirst, collide: (a, b) => inFirst.takes(a) && inFirst.takes(b) && ofFirst.collide(a, b) }],
});

const ordered = {
  sql: 'n <= m',
  holds: (row: Parameters<Part['of']>[0]) => int(row, 'n')! <= int(row, 'm')!,
  always: true,
  when: 'BEFORE',
} as const;

const family = schemaOf(
  table('h', [k1, column('r')], { references: [references('h', 'r', 'e')] }),
  table('e', [k1, column('r'), u], { references: [references('e', 'r', 'w')], keys: [unique('e', u)] }),
  table('w', [k1, u], { keys: [unique('w', u)] }),
  table('g', [k1, column('r', 'text')], { references: [references('g', 'r', 'w', 'u')] }),
);

const two = [column('k1'), column('k2')];
const full: ReferenceRule = {
  name: 'x_full',
  ddl: 'ALTER TABLE x ADD CONSTRAINT x_full FOREIGN KEY (r, s) REFERENCES v (k1, k2) MATCH FULL',
  columns: ['r', 's'],
  parent: 'v',
  parentColumns: ['k1', 'k2'],
  full: true,
};

export const parkingCases = {
  'two nodes take one key': { schema: mail, steps: twoOfOneMail },
  'the row that has the key gives it up': {
    schema: mail,
    steps: [
      ...twoOfOneMail,
      pull('ca'),
      at('check', 'a'),
      write('c', `UPDATE p SET u = 'z' WHERE k1 = 1`),
      pull('ca'),
      at('check', 'a'),
    ],
  },
  'the row that has the key gives it up, and nobody asks': {
    schema: mail,
    steps: [...twoOfOneMail, at('settle', 'c'), write('c', `UPDATE p SET u = 'z' WHERE k1 = 1`), at('wait', 'c')],
  },
  'the older row has the key': {
    schema: schemaOf(table('o', [k1, u, n], { strategy: 'first-write-wins', keys: [unique('o', u)] })),
    steps: [
      write('a', `INSERT INTO o VALUES (2, 'x')`, 'UPDATE o SET n = 1'),
      write('b', `INSERT INTO o VALUES (1, 'x')`),
      pull('bc'),
      pull('ac'),
      at('check', 'c'),
    ],
  },
  'the rule becomes another': {
    schema: mail,
    steps: [
      ...twoOfOneMail,
      { do: 'rule', node: 2, change: { table: 'p', strategy: 'first-write-wins' } },
      at('check', 'c'),
    ],
  },
  'a parked row is written': {
    schema: mail,
    steps: [...twoOfOneMail, write('c', `INSERT INTO p VALUES (2, 'y')`)],
  },
  'two rows swap their keys': {
    schema: mail,
    steps: [
      write('a', `INSERT INTO p VALUES (1, 'x'), (2, 'y')`),
      ...everywhere,
      write(
        'a',
        `UPDATE p SET u = 'z' WHERE k1 = 1`,
        `UPDATE p SET u = 'x' WHERE k1 = 2`,
        `UPDATE p SET u = 'y' WHERE k1 = 1`,
      ),
    ],
  },
  'a row with several versions is parked': { schema: mail, steps: several },
  'a row with several versions comes back': {
    schema: mail,
    steps: [...several, pull('ca'), pull('cb'), write('c', `UPDATE p SET u = 'w' WHERE k1 = 2`)],
  },
  'a constraint goes': {
    schema: schemaOf(table('p', [k1, u, n])),
    steps: [
      ...each('ALTER TABLE p DROP CONSTRAINT IF EXISTS late, ADD CONSTRAINT late UNIQUE (u)'),
      ...twoOfOneMail,
      at('settle', 'c'),
      ...each('ALTER TABLE p DROP CONSTRAINT late'),
      at('wait', 'c'),
    ],
  },
  'rows that a partial index is not about': {
    schema: schemaOf(table('q', [k1, u, n, m], { keys: [partial, unique('q', u)] })),
    steps: [
      write('a', `INSERT INTO q VALUES (1, NULL, 5, 0), (4, 'x', 0, 0)`),
      write('b', `INSERT INTO q VALUES (2, NULL, 5, 0), (3, 'x', 0, 0)`),
      pull('ba'),
      at('check', 'a'),
    ],
  },
  'a key of which NULLs are equal': {
    schema: schemaOf(table('q', [k1, u], { keys: [unique('q', u, { nullsEqual: true })] })),
    steps: [write('a', 'INSERT INTO q VALUES (1, NULL)'), write('b', 'INSERT INTO q VALUES (2, NULL)')],
  },
  'a deferrable key': {
    schema: schemaOf(table('q', [k1, u], { keys: [unique('q', u, { late: true })] })),
    steps: [write('a', `INSERT INTO q VALUES (1, 'x')`), write('b', `INSERT INTO q VALUES (2, 'x')`)],
  },
  'a key of one partition': {
    schema: schemaOf(partitioned),
    steps: [write('a', 'INSERT INTO l VALUES (1, 7)'), write('b', 'INSERT INTO l VALUES (2, 7), (3, 7)')],
  },
  'a row that a trigger refuses wants a key': {
    schema: schemaOf(
      table('f', [k1, u, n, m], { strategy: 'merge-fields', keys: [unique('f', u)], guards: [ordered] }),
    ),
    steps: [
      write('a', `INSERT INTO f VALUES (1, 'x', 3, 6)`),
      pull('ab'),
      write('a', 'UPDATE f SET n = 5'),
      write('b', 'UPDATE f SET m = 4'),
      write('c', `INSERT INTO f VALUES (2, 'x', 1, 1)`),
    ],
  },
  'a row with field stamps is parked': {
    schema: schemaOf(table('f', [k1, u, t], { strategy: 'merge-fields', keys: [unique('f', u)] })),
    steps: [
      write('a', `INSERT INTO f VALUES (1, 'x', 'one')`, `UPDATE f SET t = 'two'`),
      write('b', `INSERT INTO f VALUES (2, 'x', 'a')`, `UPDATE f SET t = 'b'`, `UPDATE f SET t = 'c'`),
      pull('ab'),
      pull('bc'),
      write('b', 'DELETE FROM f'),
    ],
  },
  'keys that differ in nothing but case': {
    schema: schemaOf(table('z', [column('k1', 'nocase'), n], { strategy: 'merge-fields' })),
    steps: [
      write('a', `INSERT INTO z VALUES ('ann', 1)`),
      write('b', `INSERT INTO z VALUES ('ANN', 2)`),
      pull('ab'),
      pull('bc'),
    ],
  },
  'a key that is written in two ways': {
    schema: schemaOf(table('s', [column('k1', 'numeric'), u], { keys: [unique('s', u)] })),
    steps: [
      write('a', `INSERT INTO s VALUES (1.0, 'x')`),
      write('b', `INSERT INTO s VALUES (2, 'x')`),
      pull('ba'),
      write('b', `UPDATE s SET k1 = 2.00, u = 'z'`),
      pull('ba'),
      at('check', 'a'),
    ],
  },

  'a parent is deleted here, a child inserted there': {
    schema: family,
    steps: [
      write('a', 'INSERT INTO w VALUES (1)'),
      ...everywhere,
      write('a', 'DELETE FROM w'),
      write('b', 'INSERT INTO e VALUES (1, 1)', 'INSERT INTO h VALUES (1, 1)'),
      pull('ab'),
      at('check', 'b'),
    ],
  },
  'a deletion meets a child': {
    schema: schemaOf(table('e', [k1, column('r')], { references: [references('e', 'r', 'w')] }), table('w', [k1])),
    steps: [
      write('a', 'INSERT INTO w VALUES (1)'),
      ...everywhere,
      write('a', 'DELETE FROM w'),
      write('b', 'INSERT INTO e VALUES (1, 1)'),
      pull('ab'),
      at('check', 'b'),
    ],
  },
  'a row that waits for its parent has a key': {
    schema: family,
    steps: [
      write('a', 'INSERT INTO w VALUES (1)'),
      ...everywhere,
      write('a', 'DELETE FROM w'),
      write('c', `INSERT INTO e VALUES (1, 1, 'x')`),
      pull('ac'),
      write('b', `INSERT INTO e VALUES (2, NULL, 'x')`),
      pull('bc'),
    ],
  },
  'what is referred to is no primary key': {
    schema: family,
    steps: [
      write('a', `INSERT INTO w VALUES (1, 'x')`),
      ...everywhere,
      write('a', `UPDATE w SET u = 'y'`),
      write('b', `INSERT INTO g VALUES (1, 'x')`),
    ],
  },
  'a reference of which half is NULL': {
    schema: schemaOf(
      table('v', two),
      table('x', [k1, column('r'), column('s')], { strategy: 'merge-fields', references: [full] }),
    ),
    steps: [
      write('a', 'INSERT INTO v VALUES (1, 1), (2, 1)', 'INSERT INTO x VALUES (1, 1, 1)'),
      ...everywhere,
      write('a', 'UPDATE x SET r = NULL, s = NULL'),
      write('b', 'UPDATE x SET r = 2'),
    ],
  },
} satisfies Record<string, ParkingCase>;
