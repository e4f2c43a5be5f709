import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { Pool } from 'pg';
import { migrate } from '../apps/product-review/src/database/migrate';
import { openPool } from '../apps/product-review/src/database/pool';
import { seed } from '../apps/product-review/src/database/seed';
import { useStrictJson } from '../apps/product-review/src/http/json-body';
import { openApi } from '../apps/product-review/src/http/open-api';
import type { ProblemDocument } from '../apps/product-review/src/http/problem';
import { ProductReviewModule } from '../apps/product-review/src/product-review.module';
import { createDatabase, TestDatabase } from './support/database';

@Module({})
class TestApp {}

async function createApp(pool: Pool): Promise<NestExpressApplication> {
  const root = { module: TestApp, imports: [ProductReviewModule.forRoot({ pool })] };
  const app = await NestFactory.create<NestExpressApplication>(root, { logger: false });
  useStrictJson(app);
  await app.listen(0, '127.0.0.1');
  return app;
}

interface Row extends Record<string, unknown> {
  id: string;
  created_at: string;
  updated_at: string;
}
interface List {
  items: Row[];
  total: number;
  limit: number;
  offset: number;
}

let database: TestDatabase;
let app: NestExpressApplication;
let base: string;

beforeAll(async () => {
  database = await createDatabase();
  await migrate(database.pool);
  app = await createApp(database.pool);
  base = `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}`;
});
afterAll(async () => {
  await app?.close();
  await database?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await database.sql('TRUNCATE users, categories, products, reviews');
});

const NOWHERE = '00000000-0000-0000-0000-000000000001';

/** Sends JSON, or the string as it stands; the answer's status and body, whatever they are. */
async function send<Body>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(base + path, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    body: body === undefined || typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
  });
  const text = await response.text();
  const answer = (text ? JSON.parse(text) : undefined) as Body;
  return { status: response.status, headers: response.headers, body: answer };
}

/** A request that has to be refused, with a problem document that is whole. */
async function refused(method: string, path: string, body?: unknown, headers?: Record<string, string>) {
  const answer = await send<ProblemDocument>(method, path, body, headers);
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  expect(answer.body).toMatchObject({
    type: expect.stringMatching(/^urn:pgmesh:problem:[a-z-]+$/),
    title: expect.any(String),
    status: answer.status,
    detail: expect.any(String),
    instance: path.split('?')[0],
    code: expect.stringMatching(/^[a-z_]+$/),
  });
  return { status: answer.status, code: answer.body.code, problem: answer.body, headers: answer.headers };
}

async function create(noun: string, body: Record<string, unknown>): Promise<Row> {
  const answer = await send<Row>('POST', `/${noun}`, body);
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
}
const list = async (path: string) => (await send<List>('GET', path)).body;
const names = async (path: string) => (await list(path)).items.map(({ name }) => name);

/** A product, a user, and the user's review of it. */
async function reviewed() {
  const product = await create('products', { name: 'Kettle' });
  const user = await create('users', { username: 'ada', email: 'ada@example.com' });
  const review = await create('reviews', { product_id: product.id, user_id: user.id, rating: 4 });
  return { product, user, review };
}

describe('the tour', () => {
  it('creates a product and a category with a trailing slash, a name and a description, and lists them', async () => {
    const product = { name: 'Test Product', description: 'From Node 1' };
    expect(await send('POST', '/products/', product)).toMatchObject({ status: 201, body: product });
    const category = { name: 'Test Category', description: 'From Node 2' };
    expect(await send('POST', '/categories/', category)).toMatchObject({ status: 201, body: category });
    expect(await send('GET', '/products/')).toMatchObject({ status: 200, body: { items: [product], total: 1 } });
    expect(await send('GET', '/categories/')).toMatchObject({ status: 200, body: { items: [category], total: 1 } });
  });
});

describe.each([
  ['users', { username: 'ada', email: 'ada@example.com' }, { full_name: 'Ada Lovelace' }, { full_name: null }],
  ['categories', { name: 'Kitchen' }, { description: 'Pots' }, { description: null }],
  ['products', { name: 'Kettle' }, { price: '39.90', description: 'Steel' }, { price: null, description: null }],
])('%s', (noun, needed, optional, blank) => {
  it('are created, read, changed, replaced and deleted', async () => {
    const created = await create(noun, { ...needed, ...optional });
    expect(created).toMatchObject({ ...needed, ...optional });
    const path = `/${noun}/${created.id}`;
    expect(await send('GET', path)).toMatchObject({ status: 200, body: created });

    const [first] = Object.keys(needed) as [string];
    const changed = await send<Row>('PATCH', path, { [first]: 'Changed' });
    expect(changed).toMatchObject({ status: 200, body: { ...needed, ...optional, [first]: 'Changed' } });
    expect(changed.body.created_at).toBe(created.created_at);

    expect(await send('PUT', `${path}/`, needed)).toMatchObject({ status: 200, body: { ...needed, ...blank } });
    expect(await send('DELETE', path)).toMatchObject({ status: 204, body: undefined });
    for (const [method, body] of [['GET'], ['PATCH', needed], ['PUT', needed], ['DELETE']] as const) {
      expect(await refused(method, path, body)).toMatchObject({ status: 404, code: 'not_found' });
    }
  });

  it('take an id that the client made, once', async () => {
    const id = '0190a0b0-c0d0-7000-8000-00000000abcd';
    expect(await create(noun, { ...needed, id })).toMatchObject({ id });
    expect(await refused('POST', `/${noun}`, { ...needed, id })).toMatchObject({ status: 409, code: 'already_exists' });
  });

  it('say which fields are missing, unknown, empty or not text', async () => {
    for (const field of Object.keys(needed)) {
      for (const body of [
        { ...needed, [field]: undefined },
        { ...needed, [field]: '  ' },
        { ...needed, [field]: 7 },
      ]) {
        const { status, problem } = await refused('POST', `/${noun}`, body);
        expect({ status, field: problem.errors?.[0]?.field }).toEqual({ status: 400, field });
      }
    }
    const unknown = await refused('POST', `/${noun}`, { ...needed, colour: 'red' });
    expect(unknown.problem.errors).toEqual([{ field: 'colour', detail: expect.any(String) }]);
    const { id } = await create(noun, needed);
    expect(await refused('PATCH', `/${noun}/${id}`, {})).toMatchObject({ status: 400, code: 'validation_failed' });
  });
});

describe('reviews', () => {
  it('are created, read, filtered, changed, replaced and deleted', async () => {
    const { product, user, review } = await reviewed();
    const path = `/reviews/${review.id}`;
    const whole = { product_id: product.id, user_id: user.id, rating: 4, title: null, comment: null };
    expect(await send('GET', path)).toMatchObject({ status: 200, body: whole });
    expect(await send('PATCH', path, { rating: 5, comment: 'Good' })).toMatchObject({
      body: { ...whole, rating: 5, comment: 'Good' },
    });
    const { product_id, user_id } = whole;
    expect(await send('PUT', path, { product_id, user_id, rating: 1 })).toMatchObject({
      body: { ...whole, rating: 1 },
    });
    for (const query of [`product_id=${product_id}`, `user_id=${user_id}`, 'rating=1']) {
      expect(await list(`/reviews?${query}`)).toMatchObject({ total: 1, items: [{ id: review.id }] });
    }
    expect(await list('/reviews?rating=2')).toMatchObject({ total: 0, items: [] });
    expect(await send('DELETE', path)).toMatchObject({ status: 204 });
  });

  it('need a product and a user that exist, and the answer names what is missing', async () => {
    const { product, user, review } = await reviewed();
    const missing = { status: 422, code: 'reference_missing' };
    const noProduct = await refused('POST', '/reviews', { product_id: NOWHERE, user_id: user.id, rating: 3 });
    expect(noProduct).toMatchObject({ ...missing, problem: { errors: [{ field: 'product_id' }] } });
    const noUser = await refused('POST', '/reviews', { product_id: product.id, user_id: NOWHERE, rating: 3 });
    expect(noUser).toMatchObject({ ...missing, problem: { errors: [{ field: 'user_id' }] } });
    expect(await refused('PATCH', `/reviews/${review.id}`, { user_id: NOWHERE })).toMatchObject(missing);
    expect(await refused('POST', '/products', { name: 'x', category_id: NOWHERE })).toMatchObject(missing);
  });

  it('are rated from 1 to 5 in whole numbers, in the API and in the database', async () => {
    const { product, user, review } = await reviewed();
    for (const rating of [0, 6, -1, 4.5, '4', null, 1e300]) {
      const answer = await refused('POST', '/reviews', { product_id: product.id, user_id: user.id, rating });
      expect([answer.status, answer.problem.errors?.[0]?.field]).toEqual([400, 'rating']);
    }
    const update = database.sql('UPDATE reviews SET rating = 6 WHERE id = $1', [review.id]);
    await expect(update).rejects.toMatchObject({ code: '23514', constraint: 'reviews_rating_check' });
  });

  it('go with their product and with their author', async () => {
    const first = await reviewed();
    await send('DELETE', `/products/${first.product.id}`);
    expect(await refused('GET', `/reviews/${first.review.id}`)).toMatchObject({ status: 404 });
    const second = await reviewed();
    await send('DELETE', `/users/${second.user.id}`);
    expect(await refused('GET', `/reviews/${second.review.id}`)).toMatchObject({ status: 404 });
  });
});

describe('products', () => {
  it('outlive their category', async () => {
    const category = await create('categories', { name: 'Kitchen' });
    const product = await create('products', { name: 'Kettle', category_id: category.id });
    await send('DELETE', `/categories/${category.id}`);
    expect(await send('GET', `/products/${product.id}`)).toMatchObject({ status: 200, body: { category_id: null } });
  });

  it.each([
    ['39.9', '39.90'],
    [39.9, '39.90'],
    [0, '0.00'],
    ['999999999999.99', '999999999999.99'],
    [99999999999.99, '99999999999.99'],
  ])('keep a price of %p exactly, as %p', async (price, kept) => {
    expect(await create('products', { name: 'Kettle', price })).toMatchObject({ price: kept });
  });

  it.each(['1.005', 0.1 + 0.2, -1, '-0.01', 'NaN', '1e3', 1e21, '', '1000000000000', '1,5', true])(
    'refuse a price of %p rather than round or guess',
    async (price) => {
      const answer = await refused('POST', '/products', { name: 'Kettle', price });
      expect(answer).toMatchObject({ status: 400, problem: { errors: [{ field: 'price' }] } });
    },
  );

  it('keep any text that PostgreSQL can hold, and refuse what it cannot', async () => {
    const name = `quote' "double" \\ % _ \u{1F980} é\u202E\t{{}}; DROP TABLE products; --`;
    expect(await create('products', { name })).toMatchObject({ name });
    for (const text of ['a\0b', '\ud800']) {
      expect(await refused('POST', '/products', { name: text })).toMatchObject({ status: 400 });
      expect(await refused('POST', '/products', { name: 'x', description: text })).toMatchObject({ status: 400 });
    }
  });
});

describe('lists', () => {
  beforeEach(async () => {
    const { id } = await create('categories', { name: 'Kitchen' });
    for (const [name, price, category_id] of [
      ['b', '2.00', id],
      ['a', '10.00', id],
      ['c', null, null],
      ['a', '3.00', null],
    ]) {
      await create('products', { name, price, category_id });
    }
  });

  it('show the newest first, in pages with a total', async () => {
    expect(await names('/products')).toEqual(['a', 'c', 'a', 'b']);
    const page = await list('/products?limit=2&offset=1');
    expect(page).toMatchObject({ total: 4, limit: 2, offset: 1, items: [{ name: 'c' }, { name: 'a' }] });
    expect(await list('/products?offset=100')).toMatchObject({ total: 4, items: [] });
  });

  it('are sorted by several columns, numbers as numbers', async () => {
    const sorted = (await list('/products?sort=name,-price')).items.map(({ name, price }) => [name, price]);
    expect(sorted).toEqual([
      ['a', '10.00'],
      ['a', '3.00'],
      ['b', '2.00'],
      ['c', null],
    ]);
  });

  it('are filtered by what the table offers', async () => {
    const [category] = (await list('/categories')).items;
    expect(await names(`/products?category_id=${category?.id}&sort=name`)).toEqual(['a', 'b']);
    expect(await names('/products?min_price=3&max_price=10.00&sort=price')).toEqual(['a', 'a']);
    await create('products', { name: '100% Wool_' });
    expect(await names('/products?q=% wool_')).toEqual(['100% Wool_']);
    expect(await names('/products?q=%25')).toEqual(['100% Wool_']);
    await create('users', { username: 'ada', email: 'Ada@example.com', full_name: 'Ada Lovelace' });
    for (const query of ['q=lovelace', 'username=ada', 'email=ada@EXAMPLE.com']) {
      expect(await list(`/users?${query}`)).toMatchObject({ total: 1 });
    }
    expect(await list('/products?updated_since=2999-01-01T00:00:00Z')).toMatchObject({ total: 0 });
    expect(await list('/products?updated_since=2000-01-01T00:00:00%2B02:00')).toMatchObject({ total: 5 });
  });

  it.each([
    'limit=-1',
    'limit=0',
    'limit=1e9',
    'limit=ten',
    'limit=1&limit=2',
    'limit[a]=1',
    'offset=-1',
    'offset=1e30',
    'sort=colour',
    'sort=',
    'sort=name;drop',
    'sort=--name',
    'category_id=1',
    'min_price=cheap',
    'q=%00',
    'q=',
    'updated_since=yesterday',
    'updated_since=2024-02-31T00:00:00Z',
    'colour=red',
    '__proto__=1',
  ])('refuse ?%s', async (query) => {
    expect(await refused('GET', `/products?${query}`)).toMatchObject({ status: 400, code: 'validation_failed' });
  });
});

describe('the database', () => {
  it('makes version 7 keys that rise strictly, also within a millisecond and when the clock goes back', async () => {
    const before = Date.now();
    const rows = await database.sql<{ id: string }>('SELECT public.uuid_v7() AS id FROM generate_series(1, 20000)');
    const after = Date.now();
    const keys = rows.map(({ id }) => id);
    expect(
      keys.filter((id) => !/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id)),
    ).toEqual([]);
    expect(keys).toEqual([...new Set(keys)].sort());
    const time = (id = '') => parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
    expect(time(keys[0])).toBeGreaterThanOrEqual(before - 1);
    expect(time(keys.at(-1))).toBeLessThanOrEqual(after + 1);

    const client = await database.pool.connect();
    try {
      // A session that has seen a later clock, at the last tick of a millisecond: the next key carries into the next one.
      await client.query(`SELECT set_config('product_review.last_uuid_tick', $1, false)`, [String(2n ** 55n - 1n)]);
      const late = await client.query<{ id: string }>('SELECT public.uuid_v7() AS id FROM generate_series(1, 3)');
      const times = late.rows.map(({ id }) => id.slice(0, 18));
      expect(times).toEqual(['08000000-0000-7000', '08000000-0000-7001', '08000000-0000-7002']);
    } finally {
      client.release(true);
    }
  });

  it('keeps updated_at for every writer, and created_at', async () => {
    const { product, user, review } = await reviewed();
    const category = await create('categories', { name: 'Kitchen' });
    for (const [table, { id }] of Object.entries({
      products: product,
      users: user,
      reviews: review,
      categories: category,
    })) {
      const [row] = await database.sql<{ moved: boolean; kept: boolean }>(
        `WITH old AS (SELECT * FROM ${table} WHERE id = $1),
         new AS (UPDATE ${table} SET updated_at = '1999-01-01' WHERE id = $1 RETURNING *)
         SELECT new.updated_at > old.updated_at AS moved, new.created_at = old.created_at AS kept FROM old, new`,
        [id],
      );
      expect(row).toEqual({ moved: true, kept: true });
      expect(await send('PATCH', `/${table}/${id}`, { updated_at: '1999-01-01T00:00:00Z' })).toMatchObject({
        status: 400,
      });
    }
  });

  it('has an index on updated_at for each table, and none that is unique but the primary keys', async () => {
    const indexes = await database.sql<{ indexname: string; indexdef: string }>(
      `SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('users', 'categories', 'products', 'reviews')`,
    );
    const byName = indexes.map(({ indexname }) => indexname);
    const unique = indexes.filter(({ indexdef }) => indexdef.includes('UNIQUE')).map(({ indexname }) => indexname);
    for (const table of ['users', 'categories', 'products', 'reviews'])
      expect(byName).toContain(`idx_${table}_updated_at`);
    expect(unique.sort()).toEqual(['categories_pkey', 'products_pkey', 'reviews_pkey', 'users_pkey']);
  });

  it('is migrated once by two that start together, and not by an older version', async () => {
    await using fresh = await createDatabase();
    const runs = await Promise.all([migrate(fresh.pool), migrate(fresh.pool)]);
    const all = ['0001_uuid_v7', '0002_users_categories_products_reviews'];
    expect(runs.flat().sort()).toEqual(all);
    expect(await migrate(fresh.pool)).toEqual([]);
    await fresh.sql(`INSERT INTO product_review_migration VALUES ('9999_later', now()::text)`);
    await expect(migrate(fresh.pool)).rejects.toThrow(/9999_later/);
  });

  it('is seeded once, with the same rows on every node', async () => {
    await using one = await createDatabase();
    await using two = await createDatabase();
    for (const { pool } of [one, two]) await migrate(pool);
    expect(await Promise.all([seed(one.pool), seed(one.pool)])).toContain(10);
    expect(await seed(one.pool)).toBe(0);
    expect(await seed(two.pool)).toBe(10);
    for (const table of ['users', 'categories', 'products', 'reviews']) {
      const rows = `SELECT * FROM ${table} ORDER BY id`;
      expect(await one.sql(rows)).toEqual(await two.sql(rows));
    }
    await two.sql('DELETE FROM reviews');
    expect(await seed(two.pool)).toBe(0);
  });
});

describe('hostile requests', () => {
  it.each<[string, string | Uint8Array | object]>([
    ['bad JSON', '{"name":'],
    ['no object', '"text"'],
    ['null', 'null'],
    ['an array', [{ name: 'x' }]],
    ['__proto__', '{"name":"x","__proto__":{"id":"1"}}'],
    ['constructor', { name: 'x', constructor: { prototype: {} } }],
    ['nesting of 10,000', `{"name":${'['.repeat(10_000)}${']'.repeat(10_000)}}`],
    ['invalid UTF-8', Buffer.concat([Buffer.from('{"name":"'), Buffer.from([0xff, 0xc0]), Buffer.from('"}')])],
  ])('a body with %s is a 400', async (_what, body) => {
    expect(await refused('POST', '/products', body)).toMatchObject({ status: 400 });
    expect(await list('/products')).toMatchObject({ total: 0 });
  });

  it('a body that is missing is a 400', async () => {
    expect(await refused('POST', '/products')).toMatchObject({ status: 400, code: 'validation_failed' });
  });

  it('a body that is too large, or becomes so, is a 413', async () => {
    const large = { name: 'x', description: 'x'.repeat(2_000_000) };
    const code = 'payload_too_large';
    expect(await refused('POST', '/products', large)).toMatchObject({ status: 413, code });
    const bomb = gzipSync(JSON.stringify(large));
    expect(await refused('POST', '/products', bomb, { 'content-encoding': 'gzip' })).toMatchObject({
      status: 413,
      code,
    });
  });

  it.each<Record<string, string>>([
    { 'content-type': 'text/plain' },
    { 'content-type': 'application/x-www-form-urlencoded' },
    { 'content-type': 'application/json; charset=klingon' },
    { 'content-encoding': 'rot13' },
  ])('a body of another kind is a 415: %p', async (headers) => {
    const answer = await refused('POST', '/products', '{"name":"x"}', headers);
    expect(answer).toMatchObject({ status: 415, code: 'unsupported_media_type' });
  });

  it.each(['/nothing', '/products/x/y', '/..%2f..%2fetc', '/products%00'])('%s is a 404', async (path) => {
    expect(await refused('GET', path)).toMatchObject({ status: 404, code: 'not_found' });
  });

  it.each(['/products/1', '/products/%E0%A4%A', `/products/${NOWHERE}'--`, '/products/x%22;%20DROP%20TABLE%20users'])(
    '%s is a 400',
    async (path) => {
      expect(await refused('GET', path)).toMatchObject({ status: 400 });
    },
  );

  it('a method that a path does not have is a 405 that lists those it has', async () => {
    const collection = { status: 405, code: 'method_not_allowed' };
    for (const method of ['PUT', 'PATCH', 'DELETE', 'PROPFIND']) {
      const answer = await refused(method, '/products/');
      expect(answer).toMatchObject(collection);
      expect(answer.headers.get('allow')).toBe('GET, HEAD, OPTIONS, POST');
    }
    expect(await refused('POST', `/products/${NOWHERE}`, { name: 'x' })).toMatchObject(collection);
    const options = await send('OPTIONS', '/products');
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS, POST']);
    expect(await send('HEAD', '/products')).toMatchObject({ status: 200 });
    expect(await raw('TRACE /products/ HTTP/1.1')).toMatch(/^HTTP\/1.1 405 /);
  });

  it('a failed CHECK does not print the row', async () => {
    const { user } = await reviewed();
    await database.sql(`ALTER TABLE users ADD CONSTRAINT no_rain CHECK (full_name <> 'rain')`);
    try {
      const answer = await refused('PATCH', `/users/${user.id}`, { full_name: 'rain' });
      expect(answer).toMatchObject({ status: 422, code: 'check_failed' });
      expect(JSON.stringify(answer.problem)).not.toContain('ada@example.com');
    } finally {
      await database.sql('ALTER TABLE users DROP CONSTRAINT no_rain');
    }
  });
});

describe('the weather', () => {
  it('a deadlock or a failed serialization is a 503 to be tried again', async () => {
    for (const code of ['40001', '40P01']) {
      await database.sql(`CREATE FUNCTION storm() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'storm' USING ERRCODE = '${code}'; END $$;
        CREATE TRIGGER storm BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION storm()`);
      try {
        const answer = await refused('POST', '/products', { name: 'x' });
        expect(answer).toMatchObject({ status: 503, code: 'try_again' });
        expect(answer.headers.get('retry-after')).toBe('1');
      } finally {
        await database.sql('DROP FUNCTION storm CASCADE');
      }
    }
  });

  it('is away and comes back: 503 meanwhile, and then all is well', async () => {
    const { pool, name } = await createDatabase();
    const away = openPool(pool.options.connectionString!, 1);
    await migrate(away);
    const other = await createApp(away);
    const { port } = other.getHttpServer().address() as AddressInfo;
    const status = async () => (await fetch(`http://127.0.0.1:${port}/products`)).status;
    try {
      expect(await status()).toBe(200);
      await database.sql(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
      await database.sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name]);
      expect(await status()).toBe(503);
      expect(await status()).toBe(503);
      await database.sql(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
      expect(await status()).toBe(200);
    } finally {
      await other.close();
      await away.end();
      await pool.end();
      await database.sql(`DROP DATABASE ${name} WITH (FORCE)`);
    }
  });
});

describe('a database that cannot be reached', () => {
  it('is a 503 that does not say where it is, or with which password', async () => {
    const pool = new Pool({ connectionString: 'postgres://someone:hush@127.0.0.1:1/nowhere' });
    const other = await createApp(pool);
    const { port } = other.getHttpServer().address() as AddressInfo;
    try {
      const answer = await fetch(`http://127.0.0.1:${port}/products`);
      const text = await answer.text();
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
      expect(text).not.toMatch(/hush|someone|127\.0\.0\.1/);
    } finally {
      await other.close();
      await pool.end();
    }
  });
});

describe('OpenAPI', () => {
  it('describes every path with its bodies and answers', () => {
    const { paths, components } = openApi(app, 'Product reviews', '1');
    const expected = ['users', 'categories', 'products', 'reviews'].flatMap((noun) => [`/${noun}`, `/${noun}/{id}`]);
    expect(Object.keys(paths).sort()).toEqual(expected.sort());
    expect(Object.keys(paths['/products'] ?? {}).sort()).toEqual(['get', 'post']);
    expect(Object.keys(paths['/products/{id}'] ?? {}).sort()).toEqual(['delete', 'get', 'patch', 'put']);
    expect(components?.schemas?.NewProduct).toMatchObject({
      required: ['name'],
      properties: {
        name: { type: 'string', maxLength: 200 },
        price: { type: 'string', nullable: true },
        category_id: { type: 'string', format: 'uuid' },
      },
    });
    expect(components?.schemas?.ReviewPage).toMatchObject({ properties: { items: { type: 'array' } } });
    const query = paths['/products']?.get?.parameters?.map((parameter) => 'name' in parameter && parameter.name);
    expect(query).toEqual(expect.arrayContaining(['limit', 'offset', 'sort', 'q', 'category_id', 'min_price']));
  });
});

/** A request that fetch does not send. */
async function raw(line: string): Promise<string> {
  const socket = connect((app.getHttpServer().address() as AddressInfo).port, '127.0.0.1');
  try {
    socket.write(`${line}\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    const [answer] = (await once(socket, 'data', { signal: AbortSignal.timeout(10_000) })) as [Buffer];
    return answer.toString();
  } finally {
    socket.destroy();
  }
}
