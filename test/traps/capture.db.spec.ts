import { from as copyFrom } from 'pg-copy-streams';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { expectEqual, openStore, pull, settle, storeNode, type StoreNode } from '../support/store-node';

/** The versions of a table with one key column: `1` is live, `-2` a tombstone. */
async function versions(node: StoreNode, table: string): Promise<string[]> {
  const { meta } = node.store.find(table)!;
  const rows = await node.sql<{ line: string }>(
    `SELECT CASE WHEN deleted THEN '-' ELSE '' END || key1 AS line FROM ${meta} ORDER BY 1`,
  );
  return rows.map(({ line }) => line);
}

async function stampOf(node: StoreNode, key = '1'): Promise<bigint> {
  const [row] = await node.sql<{ stamp: string }>('SELECT stamp FROM p2p.meta_1 WHERE key1::text = $1', [key]);
  return BigInt(row!.stamp);
}

const numbered = 'CREATE TABLE t (id int PRIMARY KEY, x int);';

describe('Capture', () => {
  it('trap 04: a row updated later has the later stamp, although its transaction began earlier', async () => {
    await using a = await storeNode('a', `${numbered} INSERT INTO t VALUES (1, 0)`);
    const early = await a.db.pool.connect();
    await early.query('BEGIN; SELECT pg_current_xact_id()');
    await a.sql('UPDATE t SET x = 1');
    const between = await stampOf(a);
    await early.query('UPDATE t SET x = 2; COMMIT');
    early.release();
    expect(await stampOf(a)).toBeGreaterThan(between);
  });

  it('trap 05: stamps of a row do not fall when the clock steps back an hour and the node restarts', async () => {
    await using a = await storeNode('a', `${numbered} INSERT INTO t VALUES (1, 0)`);
    const before = await stampOf(a);
    await a.sql(`CREATE OR REPLACE FUNCTION p2p.clock() RETURNS bigint LANGUAGE sql VOLATILE AS $$
      SELECT (date_part('epoch', clock_timestamp()) * 1000000)::int8 - 3600000000 $$`);
    await a.sql('UPDATE t SET x = 1');
    const stepped = await stampOf(a);
    expect(stepped).toBeGreaterThan(before);
    const again = await openStore(a.db, 'a');
    await again.close();
    await a.sql('UPDATE t SET x = 2');
    expect(await stampOf(a)).toBeGreaterThan(stepped);
    await a.sql('DELETE FROM t');
    await a.sql('INSERT INTO t VALUES (1, 3)');
    expect(await stampOf(a)).toBeGreaterThan(stepped + 2n);
  });

  describe('trap 18: TRUNCATE', () => {
    const family = `CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);`;

    it('is a delete of every live row, by CASCADE too, and spares what a peer inserted meanwhile', async () => {
      await using a = await storeNode(
        'a',
        `${family} INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 1), (2, 2)`,
      );
      await using b = await storeNode('b', family);
      await settle(a, b);
      await a.sql('TRUNCATE parent CASCADE');
      await b.sql('INSERT INTO parent VALUES (3)');
      await b.sql('INSERT INTO child VALUES (3, 3)');
      await settle(a, b);
      expect(await versions(a, 'parent')).toEqual(['-1', '-2', '3']);
      expect(await versions(b, 'child')).toEqual(['-1', '-2', '3']);
      expect(await b.sql('SELECT id FROM child')).toEqual([{ id: 3 }]);
      await expectEqual(a, b);
    });

    it('also deletes rows that its own snapshot does not show', async () => {
      await using a = await storeNode('a', `${numbered} INSERT INTO t VALUES (1, 0)`);
      await using b = await storeNode('b', numbered);
      await settle(a, b);
      const old = await a.db.pool.connect();
      await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()');
      await a.sql('INSERT INTO t VALUES (2, 0)');
      await old.query('TRUNCATE t; COMMIT');
      old.release();
      await a.store.keepUp();
      await settle(a, b);
      expect(await versions(a, 't')).toEqual(['-1', '-2']);
      expect(await b.sql('SELECT * FROM t')).toEqual([]);
      await expectEqual(a, b);
    });
  });

  it('trap 19: two nodes give the row 3 another key; both keys stand, 3 is gone, and no window shows a part of it', async () => {
    await using a = await storeNode('a', `${numbered} INSERT INTO t VALUES (3, 0)`);
    await using b = await storeNode('b', numbered);
    await settle(a, b);
    await a.sql('UPDATE t SET id = 1 WHERE id = 3');
    await b.sql('UPDATE t SET id = 2 WHERE id = 3');
    expect(await a.sql('SELECT count(DISTINCT xid)::int AS n FROM p2p.meta_1')).toEqual([{ n: 1 }]);
    await settle(a, b);
    expect(await versions(a, 't')).toEqual(['-3', '1', '2']);
    expect(await a.sql('SELECT id FROM t ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
    await expectEqual(a, b);
    await a.sql('UPDATE t SET id = id + 10');
    expect(await pull(a, b)).toBe(4);
    expect(await versions(b, 't')).toEqual(['-1', '-2', '-3', '11', '12']);
    await expectEqual(a, b);
  });

  describe('trap 20: nothing changed', () => {
    const values: Record<string, [value: string, other: string]> = {
      bool: [`'t'`, `'f'`],
      int8: ['9223372036854775807', '-9223372036854775808'],
      numeric: ['1.0', '1.00'],
      float8: [`'-0'`, '0'],
      float4: [`'NaN'`, `'-Infinity'`],
      money: ['1.5', '1.51'],
      text: [`'a'`, `'a '`],
      'char(5)': [`'a'`, `'b'`],
      name: [`'n'`, `'m'`],
      bytea: [`'\\x00ff'`, `'\\x00fe'`],
      json: [`'{"a":1}'`, `'{"a": 1}'`],
      jsonb: [`'{"a":1}'`, `'{"a":1.0}'`],
      jsonpath: [`'$.a'`, `'$.b'`],
      xml: [`'<a/>'`, `'<a></a>'`],
      timestamptz: [`'infinity'`, `'-infinity'`],
      timestamp: [`'2000-01-01 00:00:00.000001'`, `'2000-01-01 00:00:00'`],
      date: [`'4714-11-24 BC'`, `'5874897-12-31'`],
      time: [`'24:00'`, `'00:00'`],
      timetz: [`'12:00+01'`, `'11:00+00'`],
      interval: [`'24 hours'`, `'1 day'`],
      uuid: [`'00000000-0000-0000-0000-000000000000'`, `'00000000-0000-0000-0000-000000000001'`],
      inet: [`'10.0.0.1/8'`, `'10.0.0.1/9'`],
      cidr: [`'10.0.0.0/8'`, `'10.0.0.0/9'`],
      macaddr: [`'08:00:2b:01:02:03'`, `'08:00:2b:01:02:04'`],
      bit: [`B'1'`, `B'0'`],
      varbit: [`B'1'`, `B'10'`],
      point: [`'(1,2)'`, `'(1.0000001,2)'`],
      box: [`'(2,2),(0,0)'`, `'(1,4),(0,0)'`], // equal by area, as boxes compare
      circle: [`'<(0,0),1>'`, `'<(1,0),1>'`],
      polygon: [`'((0,0),(1,1),(2,0))'`, `'((1,1),(2,0),(0,0))'`],
      path: [`'[(0,0),(1,1)]'`, `'((0,0),(1,1))'`],
      tsvector: [`'a:1 b:2'`, `'a:1 b:3'`],
      tsquery: [`'a & b'`, `'b & a'`],
      int4range: [`'[1,5)'`, `'[1,6)'`],
      datemultirange: [`'{}'`, `'{[2000-01-01,2000-01-02)}'`],
      'numeric[]': [`'{1.0,NULL}'`, `'{1.00,NULL}'`],
      'int[]': [`'[0:1]={1,2}'`, `'{1,2}'`],
      mood: [`'sad'`, `'glad'`],
      price: ['1.0', '1.00'],
      pair: [`'(1.0,)'`, `'(1.00,)'`],
    };
    const types = Object.keys(values);
    const schema = `CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN price AS numeric CHECK (value > 0); CREATE TYPE pair AS (a numeric, b text);
      CREATE TABLE t (id int PRIMARY KEY, ${types.map((type, i) => `c${i} ${type}`).join(', ')});`;

    it('ships nothing, and the slightest change of a value of any type is shipped', async () => {
      await using a = await storeNode('a', schema);
      await using b = await storeNode('b', schema);
      await a.sql(`INSERT INTO t VALUES (1, ${types.map((type) => values[type]![0]).join(', ')})`);
      await a.sql('INSERT INTO t (id) VALUES (2)');
      await settle(a, b);
      await a.sql(`UPDATE t SET ${types.map((_, i) => `c${i} = c${i}`).join(', ')}`);
      await a.sql('UPDATE t SET id = id');
      expect(await pull(a, b)).toBe(0);
      for (const [i, type] of types.entries()) {
        await a.sql(`UPDATE t SET c${i} = ${values[type]![1]} WHERE id = 1`);
        expect({ type, rows: await pull(a, b) }).toEqual({ type, rows: 1 });
      }
      await expectEqual(a, b);
    });
  });

  it('trap 21: of COPY, MERGE, ON CONFLICT and refused rows, what is fed is what was changed', async () => {
    const schema = `${numbered}
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.x < 0 THEN RETURN NULL; END IF; RETURN new; END $$;
      CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION refuse();`;
    await using a = await storeNode('a', schema);
    await using b = await storeNode('b', schema);
    const fed = async (write: string) => {
      await a.sql(write);
      return pull(a, b);
    };
    await settle(a, b);
    const client = await a.db.pool.connect();
    await pipeline(Readable.from(['1\t1\n2\t-1\n3\t3\n']), client.query(copyFrom('COPY t FROM STDIN')));
    client.release();
    expect(await pull(a, b)).toBe(2);
    expect(await fed('INSERT INTO t VALUES (1, 9), (4, 4) ON CONFLICT DO NOTHING')).toBe(1);
    expect(
      await fed('INSERT INTO t VALUES (1, 1), (3, 30), (5, 5), (6, -6) ON CONFLICT (id) DO UPDATE SET x = excluded.x'),
    ).toBe(2);
    expect(
      await fed(`MERGE INTO t USING (VALUES (1, 1), (3, 31), (4, -1), (5, 0), (7, 7)) AS s (id, x) ON t.id = s.id
        WHEN MATCHED AND s.x = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET x = s.x WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.x)`),
    ).toBe(3);
    expect(
      await fed('WITH gone AS (DELETE FROM t WHERE id = 1 RETURNING *) INSERT INTO t SELECT id, x + 1 FROM gone'),
    ).toBe(1);
    expect(await fed('UPDATE t SET x = -5')).toBe(0);
    expect(
      await fed(
        `BEGIN; DECLARE c CURSOR FOR SELECT * FROM t WHERE id = 7 FOR UPDATE; MOVE c; UPDATE t SET x = 70 WHERE CURRENT OF c; COMMIT`,
      ),
    ).toBe(1);
    expect(
      await fed(
        'BEGIN; SAVEPOINT s; UPDATE t SET x = 71 WHERE id = 7; ROLLBACK TO s; UPDATE t SET x = 31 WHERE id = 3; COMMIT',
      ),
    ).toBe(0);
    expect(await a.sql('SELECT id, x FROM t ORDER BY id')).toEqual(await b.sql('SELECT id, x FROM t ORDER BY id'));
    await expectEqual(a, b);
  });

  describe('trap 22: partitions', () => {
    const schema = `CREATE TABLE t (id int, at date, x text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
      CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2001-01-01') TO ('2002-01-01');
      CREATE TABLE t2 (x text, gone int, at date NOT NULL, id int NOT NULL, PRIMARY KEY (id, at)); ALTER TABLE t2 DROP COLUMN gone;
      ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM ('2002-01-01') TO ('2003-01-01');`;

    it('are fed under the root: written directly, moved between, of other column order, or attached later', async () => {
      await using a = await storeNode('a', schema);
      await using b = await storeNode('b', schema);
      await settle(a, b);
      expect(a.store.tables()).toEqual(['public.t']);
      await a.sql(`INSERT INTO t VALUES (1, '2001-05-05', 'root'), (2, '2002-05-05', 'root')`);
      await a.sql(`INSERT INTO t1 VALUES (3, '2001-06-06', 'direct')`);
      await a.sql(`INSERT INTO t2 VALUES ('direct', '2002-06-06', 4)`);
      expect(await pull(a, b)).toBe(4);
      await a.sql(`UPDATE t SET at = at + 365 WHERE at < '2002-01-01'`); // moves 1 and 3
      expect(await pull(a, b)).toBe(4);
      await a.sql(`UPDATE t2 SET x = 'again' WHERE id IN (2, 3)`);
      expect(await pull(a, b)).toBe(2);
      await a.sql(`DELETE FROM t2 WHERE id = 4`);
      expect(await pull(a, b)).toBe(1);
      await expectEqual(a, b);
      await a.sql(`CREATE TABLE t3 (at date NOT NULL, x text, id int NOT NULL); INSERT INTO t3 VALUES ('2003-01-01', 'was there', 5);
        ALTER TABLE t ATTACH PARTITION t3 FOR VALUES FROM ('2003-01-01') TO ('2004-01-01');
        INSERT INTO t3 VALUES ('2003-01-02', 'before anybody knew', 6); INSERT INTO t VALUES (7, '2003-03-03', 'by the root')`);
      await a.store.keepUp();
      await a.sql(`INSERT INTO t3 VALUES ('2003-01-03', 'captured', 8)`);
      await b.sql(`CREATE TABLE t3 PARTITION OF t FOR VALUES FROM ('2003-01-01') TO ('2004-01-01')`);
      await b.store.keepUp();
      expect(await pull(a, b)).toBe(4);
      await b.sql(`UPDATE t3 SET x = 'back' WHERE id = 8; TRUNCATE t1`);
      await settle(a, b);
      expect(await a.sql(`SELECT x FROM t WHERE id = 8`)).toEqual([{ x: 'back' }]);
      await expectEqual(a, b);
      await a.sql('TRUNCATE t2');
      await settle(a, b);
      expect(await b.sql('SELECT id FROM t ORDER BY id')).toEqual([{ id: 5 }, { id: 6 }, { id: 7 }, { id: 8 }]);
      await expectEqual(a, b);
    });
  });

  it('trap 31: what an aborted apply leaves on its connection suppresses nothing', async () => {
    await using a = await storeNode('a', numbered);
    const client = await a.db.pool.connect();
    const apply = `SELECT set_config('p2p.mode', pg_current_xact_id()::text || ' apply', true)`;
    await client.query(`BEGIN; SET LOCAL session_replication_role = replica; ${apply}; INSERT INTO t VALUES (1, 1)`);
    await expect(client.query('INSERT INTO t VALUES (1, 1)')).rejects.toThrow('duplicate key');
    await client.query('ROLLBACK');
    await client.query('INSERT INTO t VALUES (2, 2)');
    expect(await versions(a, 't')).toEqual(['2']);
    // A pooler, or a careless program, may make it last for the session.
    await client.query(`BEGIN; ${apply.replace('true', 'false')}; COMMIT`);
    await client.query('UPDATE t SET x = 3');
    await client.query('DELETE FROM t');
    client.release();
    expect(await versions(a, 't')).toEqual(['-2']);
  });

  it('trap 38: a role with rights on its table alone writes under row security, and is captured', async () => {
    await using a = await storeNode(
      'a',
      `${numbered} ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON t USING (x > 0)`,
    );
    const role = `r_${a.db.name}`;
    await a.sql(`CREATE ROLE ${role}; GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON t TO ${role}`);
    const client = await a.db.pool.connect();
    try {
      await client.query(`SET ROLE ${role}; SET search_path = pg_temp; CREATE TEMPORARY TABLE meta_1 (key1 int)`);
      await client.query('INSERT INTO public.t VALUES (1, 1), (2, 2), (3, 3)');
      await client.query('UPDATE public.t SET x = x + 1 WHERE id = 1');
      await client.query('DELETE FROM public.t WHERE id = 2');
      await expect(client.query('INSERT INTO public.t VALUES (4, -1)')).rejects.toThrow('row-level security');
      expect(await versions(a, 't')).toEqual(['-2', '1', '3']);
      await client.query('TRUNCATE public.t');
      expect(await versions(a, 't')).toEqual(['-1', '-2', '-3']);
      await expect(client.query('SELECT * FROM p2p.meta_1')).rejects.toThrow('permission denied');
    } finally {
      await client.query('RESET ROLE');
      client.release();
      await a.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });
});
