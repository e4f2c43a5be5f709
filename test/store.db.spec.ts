import { expectEqual, pull, settle, storeNode } from './support/store-node';

const products = `
  CREATE TABLE products (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text, price numeric, tags text[], doc jsonb);
`;

describe('Two stores', () => {
  it('bring each other what was there before and what is written after', async () => {
    await using a = await storeNode('a', products + `INSERT INTO products (name) VALUES ('before')`);
    await using b = await storeNode('b', products);
    await pull(a, b);
    await a.sql(`INSERT INTO products (name, price, tags) VALUES ('pen', 1.50, '{a,"b c"}'), ('ink', 'NaN', NULL)`);
    await b.sql(`INSERT INTO products (name, doc) VALUES ('nib', '{"n": 12345678901234567890}')`);
    await settle(a, b);
    expect(await b.sql('SELECT count(*)::int AS n FROM products')).toEqual([{ n: 4 }]);
    await expectEqual(a, b);
    await b.sql(`UPDATE products SET price = 9 WHERE name = 'pen'`);
    await a.sql(`DELETE FROM products WHERE name = 'before'`);
    await settle(a, b);
    expect(await a.sql(`SELECT price FROM products WHERE name = 'pen'`)).toEqual([{ price: '9' }]);
    await expectEqual(a, b);
    expect(await pull(a, b)).toBe(0);
    expect(await pull(b, a)).toBe(0);
  });

  it('settle a conflict alike, keep the loser, and let a later write cover both', async () => {
    await using a = await storeNode('a', products);
    await using b = await storeNode('b', products);
    await a.sql(`INSERT INTO products (id, name) VALUES ('00000000-0000-0000-0000-000000000001', 'first')`);
    await settle(a, b);
    await a.sql(`UPDATE products SET name = 'of a'`);
    await b.sql(`UPDATE products SET name = 'of b'`);
    await settle(a, b);
    await expectEqual(a, b);
    expect(await a.sql('SELECT name FROM products')).toEqual([{ name: 'of b' }]);
    expect(await a.store.conflictsResolved()).toBe(1);
    const [{ kept }] = (await a.sql<{ kept: string }>(
      `SELECT siblings->0->'image'->>'name' AS kept FROM p2p.meta_1`,
    )) as [{ kept: string }];
    expect(kept).toBe('of a');
    await a.sql(`UPDATE products SET name = 'both seen'`);
    await settle(a, b);
    await expectEqual(a, b);
    expect(await b.sql(`SELECT name, (SELECT siblings FROM p2p.meta_1) AS siblings FROM products`)).toEqual([
      { name: 'both seen', siblings: null },
    ]);
  });

  it('carry large windows as COPY, cut at transactions', async () => {
    await using a = await storeNode('a', products);
    await using b = await storeNode('b', products);
    await settle(a, b);
    for (let i = 0; i < 5; i++)
      await a.sql(
        `INSERT INTO products (name, price, tags) SELECT 'n' || i, i, ARRAY['x', NULL, 'y"z'] FROM generate_series(1, 2000) AS i`,
      );
    expect(await pull(a, b, 3000)).toBe(10_000);
    await a.sql(`UPDATE products SET price = price + 1 WHERE price < 1000`);
    await settle(a, b);
    await expectEqual(a, b);
  });
});
