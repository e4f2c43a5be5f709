import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { migrate, openPool, PostgresStore, PreflightError } from '@pgmesh/store';
import { createDatabase } from './support/database';
import { dumpSchema } from './support/schema-dump';
import { openStore, storeNode } from './support/store-node';

const golden = join(__dirname, 'golden/p2p-schema.sql');

describe('The p2p schema', () => {
  it('is what the golden dump says, so that a review sees what a migration or a template changes', async () => {
    await using node = await storeNode(
      'golden',
      'CREATE TABLE items (id uuid, line int, name text, PRIMARY KEY (id, line));',
    );
    const own = new RegExp(`${node.store.identity.epoch}|'\\d+'(?=::regclass)`, 'g');
    const dump = (await dumpSchema(node.db)).replace(own, (found) =>
      found.startsWith("'") ? "'<oid>'" : '<incarnation>',
    );
    if (process.env.UPDATE_GOLDEN) writeFileSync(golden, dump);
    expect(dump).toBe(readFileSync(golden, 'utf8'));
  });

  it('is made once when two processes start at the same time', async () => {
    await using db = await createDatabase();
    const pools = [openPool(db.url, 2), openPool(db.url, 2)];
    try {
      const ran = await Promise.all(pools.map((pool) => migrate(pool)));
      expect(ran.flat()).toEqual(['001_p2p']);
    } finally {
      await Promise.all(pools.map((pool) => pool.end()));
    }
  });

  it('is left alone when a newer version has migrated it', async () => {
    await using db = await createDatabase();
    const pool = openPool(db.url, 1);
    try {
      await migrate(pool);
      await db.sql(`INSERT INTO p2p.migration (name, timestamp) VALUES ('999_later', '2030-01-01')`);
      await expect(migrate(pool)).rejects.toThrow(/newer pgmesh has migrated this database \(999_later\)/);
    } finally {
      await pool.end();
    }
  });

  it('belongs to one node, which is named when another wants it', async () => {
    await using node = await storeNode('first', 'CREATE TABLE t (id int PRIMARY KEY);');
    await expect(openStore(node.db, 'second')).rejects.toThrow(/belongs to node "first"/);
  });
});

describe('The look at tables before they are shared', () => {
  const refused: [string, string, RegExp][] = [
    ['a table that is not there', '', /public\.t|t: There is no such table/],
    [
      'a table without a primary key',
      'CREATE TABLE t (a int)',
      /public\.t: It has no primary key\. ALTER TABLE public\.t ADD PRIMARY KEY/,
    ],
    ['a view', 'CREATE VIEW t AS SELECT 1 AS a', /public\.t: It is a view/],
    ['an unlogged table', 'CREATE UNLOGGED TABLE t (a int PRIMARY KEY)', /SET LOGGED/],
    [
      'a partition',
      'CREATE TABLE p (a int PRIMARY KEY) PARTITION BY LIST (a); CREATE TABLE t PARTITION OF p FOR VALUES IN (1)',
      /Share the partitioned table/,
    ],
    [
      'a table that takes part in inheritance',
      'CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE t (PRIMARY KEY (a)) INHERITS (p)',
      /inheritance/,
    ],
    ['a deferrable primary key', 'CREATE TABLE t (a int PRIMARY KEY DEFERRABLE)', /deferrable/],
  ];

  it.each(refused)('refuses %s, and says what to do', async (_, schema, message) => {
    await using db = await createDatabase();
    await db.pool.query(schema);
    const opening = openStore(db, 'n', ['t']);
    await expect(opening).rejects.toThrow(PreflightError);
    await expect(opening).rejects.toThrow(message);
    expect(await db.sql(`SELECT FROM pg_namespace WHERE nspname = 'p2p'`)).toEqual([]);
  });

  it('warns of serial keys, and takes the table', async () => {
    await using db = await createDatabase();
    await db.pool.query('CREATE TABLE t (a serial PRIMARY KEY)');
    const findings: string[] = [];
    const store = await PostgresStore.open({
      url: db.url,
      nodeId: 'n',
      tables: ['t'],
      onFinding: ({ level, problem, remedy }) => findings.push(`${level}: ${problem} ${remedy}`),
    });
    await store.close();
    expect(findings).toEqual([
      expect.stringMatching(/^warning: Its key a is drawn from a sequence.*pgmesh sequences --interleave/),
    ]);
  });

  it('names the grants that a role without superuser rights needs, and works with them', async () => {
    await using db = await createDatabase();
    const role = `r_${db.name}`;
    await db.pool.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE ${db.name} TO ${role};
      GRANT CREATE ON SCHEMA public TO ${role}; CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN moody AS mood;
      SET ROLE ${role}; CREATE TABLE t (a int PRIMARY KEY, m moody); RESET ROLE; REVOKE USAGE ON TYPE mood FROM PUBLIC`);
    const url = new URL(db.url);
    url.username = role;
    url.password = 'x';
    const open = () => PostgresStore.open({ url: url.href, nodeId: 'n', tables: ['t'] });
    try {
      await expect(open()).rejects.toThrow(`GRANT SET ON PARAMETER session_replication_role TO "${role}"`);
      await db.pool.query(`GRANT SET ON PARAMETER session_replication_role TO ${role}`);
      await expect(open()).rejects.toThrow('GRANT USAGE ON TYPE public.mood TO');
      await db.pool.query(`GRANT USAGE ON TYPE mood TO ${role}`);
      const store = await open();
      await db.pool.query('INSERT INTO t VALUES (1)');
      expect(await db.sql('SELECT key1 FROM p2p.meta_1')).toEqual([{ key1: 1 }]);
      await store.close();
    } finally {
      await db.pool.query(
        `DROP OWNED BY ${role} CASCADE; REVOKE SET ON PARAMETER session_replication_role FROM ${role}; DROP ROLE ${role}`,
      );
    }
  });
});
