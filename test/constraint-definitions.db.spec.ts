import { constraintDifference, constraintsDigest } from '@pgmesh/core';
import { createDatabase } from './support/database';
import { openStore } from './support/store-node';

/** What peers are told of the table `t` that these statements make. */
async function definitionsOf(statements: string): Promise<readonly string[]> {
  await using db = await createDatabase();
  await db.pool.query(statements);
  const store = await openStore(db, 'a', ['t']);
  try {
    return store.forms().get('public.t')!.constraints;
  } finally {
    await store.close();
  }
}

const table = 'CREATE TABLE t (id int PRIMARY KEY, n int, m int, mail text, name varchar(20));';
const parents = 'CREATE TABLE p (id int PRIMARY KEY, x int, y int, UNIQUE (x, y));';

describe('What peers are told of a table’s constraints', () => {
  it('is every kind, so that PostgreSQL takes it', async () => {
    const told = await definitionsOf(`${parents} ${table}
      CREATE DOMAIN small AS int NOT NULL CHECK (VALUE < 10); CREATE DOMAIN smaller AS small CHECK (VALUE < 5);
      ALTER TABLE t ADD CONSTRAINT one UNIQUE (mail, n) DEFERRABLE, ADD UNIQUE NULLS NOT DISTINCT (name), ALTER m SET NOT NULL,
        ADD "Some col" smaller DEFAULT 1, ADD CHECK (n > 0), ADD FOREIGN KEY (m, n) REFERENCES p (y, x) MATCH FULL ON DELETE CASCADE,
        ADD EXCLUDE USING gist (int4range(n, m) WITH &&) WHERE (n < 5);
      CREATE UNIQUE INDEX named ON t (lower(mail), (n / 2)) WHERE n > 1; CREATE INDEX ON t (n);`);
    expect(told).toEqual([
      'CHECK (((VALUE)::integer < 5)) IN THE DOMAIN OF "Some col"',
      'CHECK ((VALUE < 10)) IN THE DOMAIN OF "Some col"',
      'CHECK ((n > 0))',
      'EXCLUDE USING gist (int4range(n, m) WITH &&) WHERE ((n < 5))',
      'FOREIGN KEY (m, n) REFERENCES public.p (y, x) MATCH FULL',
      'NOT NULL "Some col"',
      'NOT NULL m',
      'UNIQUE (((n / 2)), lower(mail)) WHERE ((n > 1))',
      'UNIQUE (mail, n)',
      'UNIQUE (name) NULLS NOT DISTINCT',
    ]);
    // What one node lacks, it is told to run: that makes the digests the same.
    const { remedy } = constraintDifference(
      'public.t',
      { node: 'a', definitions: [] },
      { node: 'b', definitions: told.filter((one) => !/Some col/.test(one)) },
    )!;
    const statements = remedy.replace(/ Or drop .*/, '').replace(/On a: /g, '');
    const again = await definitionsOf(`${parents} ${table} ${statements}`);
    expect(again).toEqual(told.filter((one) => !/Some col/.test(one)));
  });

  it.each([
    ['names', 'ADD CONSTRAINT x UNIQUE (mail)', 'ADD CONSTRAINT y UNIQUE (mail)'],
    ['the order of columns', 'ADD UNIQUE (n, m)', 'ADD UNIQUE (m, n)'],
    ['when it is checked', 'ADD UNIQUE (n)', 'ADD UNIQUE (n) DEFERRABLE INITIALLY DEFERRED'],
    ['what is stored along', 'ADD UNIQUE (n) INCLUDE (m) WITH (fillfactor = 50)', 'ADD UNIQUE (n)'],
    [
      'what becomes of children',
      'ADD FOREIGN KEY (n) REFERENCES p',
      'ADD FOREIGN KEY (n) REFERENCES p ON DELETE SET NULL',
    ],
    ['whether older rows were looked at', 'ADD CHECK (n > 0)', 'ADD CHECK (n > 0) NOT VALID'],
    [
      'types that take each other’s values',
      `ADD CHECK (name IN ('a', 'b'))`,
      `ALTER name TYPE text, ADD CHECK (name IN ('a', 'b'))`,
    ],
  ])('leaves out %s', async (_what, one, other) => {
    const [a, b] = await Promise.all(
      [one, other].map((alter) => definitionsOf(`${parents} ${table} ALTER TABLE t ${alter}`)),
    );
    expect(a).toHaveLength(1);
    expect(constraintsDigest(a!)).toBe(constraintsDigest(b!));
  });

  it('takes an index for the constraint that it is', async () => {
    const [a, b] = await Promise.all([
      definitionsOf(`${table} ALTER TABLE t ADD UNIQUE (mail)`),
      definitionsOf(`${table} CREATE UNIQUE INDEX ON t (mail DESC) WITH (fillfactor = 70)`),
    ]);
    expect(a).toEqual(b);
  });

  it('has what single partitions have for themselves, whatever these are called and numbered', async () => {
    const made = (name: string) => `CREATE TABLE p (id int PRIMARY KEY);
      CREATE TABLE t (id int, n int, m int, PRIMARY KEY (id), UNIQUE (id, n), CHECK (n > 0)) PARTITION BY HASH (id);
      CREATE TABLE ${name}1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
      CREATE TABLE ${name}2 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1);
      ALTER TABLE ${name}1 ADD UNIQUE (m); ALTER TABLE ${name}2 ADD CHECK (m > 0), ADD FOREIGN KEY (n) REFERENCES p, ALTER n SET NOT NULL`;
    const [a, b] = await Promise.all([definitionsOf(made('x')), definitionsOf(`CREATE TABLE other (); ${made('y')}`)]);
    expect(a).toEqual([
      'CHECK ((m > 0)) ON PARTITION FOR VALUES WITH (modulus 2, remainder 1)',
      'CHECK ((n > 0))',
      'FOREIGN KEY (n) REFERENCES public.p (id) ON PARTITION FOR VALUES WITH (modulus 2, remainder 1)',
      'NOT NULL n ON PARTITION FOR VALUES WITH (modulus 2, remainder 1)',
      'UNIQUE (id, n)',
      'UNIQUE (m) ON PARTITION FOR VALUES WITH (modulus 2, remainder 0)',
    ]);
    expect(b).toEqual(a);
  });
});
