import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ClientBase } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { Table } from './model';
import { insertion, keyText, meetingPlaces, type Owner, ownerOf, type Row, type RowMaker, sample } from './rows';

type Site = 'a' | 'b';

/** The key of a row that was inserted, told after its commit. */
export interface Inserted {
  readonly table: string;
  readonly key: string;
}

/** One program that writes to a site's database, an action after the other. */
export class Writer {
  private inserted: Inserted[] = [];
  private readonly tables: readonly Table[];
  private readonly actions: readonly (readonly [number, () => Promise<void>])[] = [
    [12, () => this.insertSome()],
    [18, () => this.updateHot()],
    [8, () => this.updateSome()],
    [7, () => this.remove()],
    [4, () => this.changeKey()],
    [6, () => this.order()],
    [3, () => this.foundDepartment()],
    [12, () => this.meet()],
    [3, () => this.copyMany()],
    [3, () => this.updateMany()],
    [1, () => this.importMany()],
    [4, () => this.changeMind()],
    [2, () => this.scratch()],
  ];

  constructor(
    private readonly client: ClientBase,
    private readonly site: Site,
    private readonly maker: RowMaker,
  ) {
    this.tables = [...maker.model.tables.values()].filter(
      ({ name }) => !name.endsWith('.scratch') && !name.endsWith('.audit'),
    );
  }

  /** One transaction. What it inserted, once that is committed. */
  async act(): Promise<readonly Inserted[]> {
    this.inserted = [];
    let at = this.random.between(0, this.actions.reduce((sum, [weight]) => sum + weight, 0) - 1);
    const [, action] = this.actions.find(([weight]) => (at -= weight) < 0)!;
    await this.client.query('BEGIN');
    await action();
    await this.client.query('COMMIT');
    return this.inserted;
  }

  private get random() {
    return this.maker.random;
  }

  private anyTable(): Table {
    return this.random.pick(this.tables);
  }

  private anyOwner(): Owner {
    return this.random.pick(['s', 's', this.site]);
  }

  private async insert(table: Table, owner: Owner, count: number, preset: Row = {}): Promise<Row[]> {
    const rows = await this.maker.make(this.client, table, owner, count, preset);
    if (rows.length > 0) {
      const { rows: keys } = await this.client.query<{ key: string }>(insertion(table, rows));
      this.inserted.push(...keys.map(({ key }) => ({ table: table.name, key })));
    }
    return rows;
  }

  private async insertSome(): Promise<void> {
    await this.insert(this.anyTable(), this.anyOwner(), this.random.between(1, 4));
  }

  /** Rows that the other site writes at the same time. */
  private async updateHot(): Promise<void> {
    const table = this.anyTable();
    await this.updateOne(table, await this.pickKey(table, ['s'], String(this.random.between(1, 4))));
  }

  private async updateSome(): Promise<void> {
    for (let i = this.random.between(1, 3); i > 0; i--) {
      const table = this.anyTable();
      await this.updateOne(table, await this.pickKey(table, ['s', this.site]));
    }
  }

  private async pickKey(table: Table, owners: readonly Owner[], salt = this.random.hex(8)): Promise<Row | undefined> {
    const names = table.key.map(({ name }) => name);
    return (await sample(this.client, table, names, owners, salt, 1))[0];
  }

  private async updateOne(table: Table, key: Row | undefined): Promise<void> {
    if (!key) return;
    const changes: Row = {};
    const referring = new Set(table.references.flatMap(({ columns }) => columns));
    for (const column of table.columns) {
      if (column.key || column.drawn || referring.has(column.name) || this.random.chance(0.5)) continue;
      changes[column.name] = this.maker.value(table, column, 's');
    }
    const owner =
      (['a', 'b'] as const).find((one) => table.key.some(({ owned, name }) => owned && key[name]!.startsWith(one))) ??
      's';
    for (const reference of table.references) {
      if (this.random.chance(0.7) || reference.columns.some((name) => name in key)) continue;
      Object.assign(changes, await this.maker.reference(this.client, reference, owner));
    }
    await this.set(table, key, changes);
  }

  private async set(table: Table, key: Row, changes: Row): Promise<void> {
    const set = table.columns.filter(({ name }) => name in changes);
    if (set.length === 0) return;
    const values = set.map(({ name }) => changes[name]);
    const assignments = set.map(({ ident, type }, i) => `${ident} = $${i + 1}::text::${type}`).join(', ');
    await this.client.query(`UPDATE ${table.name} AS d SET ${assignments} WHERE ${this.isKey(table, set.length)}`, [
      ...values,
      ...table.key.map(({ name }) => key[name]),
    ]);
  }

  private isKey({ key }: Table, before = 0): string {
    return key.map(({ ident, type }, i) => `d.${ident} = $${before + i + 1}::text::${type}`).join(' AND ');
  }

  /** What nothing refers to, or what is this site's own, with all that hangs on it. */
  private async remove(): Promise<void> {
    const table = this.anyTable();
    const key = await this.pickKey(
      table,
      table.parent ? [this.site] : ['s', this.site],
      this.random.chance(0.5) ? '1' : undefined,
    );
    if (!key) return;
    await this.client.query(
      `DELETE FROM ${table.name} AS d WHERE ${this.isKey(table)}`,
      table.key.map(({ name }) => key[name]),
    );
  }

  private async changeKey(): Promise<void> {
    const table = this.anyTable();
    const referring = new Set(table.references.flatMap(({ columns }) => columns));
    const columns = table.key.filter(({ name, drawn }) => !referring.has(name) && !drawn);
    const owner = table.parent ? this.site : this.anyOwner();
    const key = await this.pickKey(table, [owner], this.random.chance(0.3) ? '2' : undefined);
    if (!key || columns.length === 0) return;
    const column = this.random.pick(columns);
    await this.set(table, key, { [column.name]: this.maker.value(table, column, owner) });
  }

  /** An order as a shop writes it. */
  private async order(): Promise<void> {
    const owner = this.anyOwner();
    const [order] = await this.insert(this.maker.table('sales.orders'), owner, 1);
    if (!order) return;
    const preset = { order_id: order.id!, placed_on: order.placed_on! };
    await this.insert(this.maker.table('sales.order_lines'), owner, this.random.between(1, 4), preset);
    const [invoice] = await this.insert(this.maker.table('sales.invoices'), owner, 1, preset);
    await this.insert(this.maker.table('sales.payments'), owner, 1, { invoice_id: invoice!.id! });
    await this.client.query(`UPDATE sales.orders SET state = 'placed' WHERE id = $1 AND placed_on = $2`, [
      order.id,
      order.placed_on,
    ]);
    const stock = this.maker.table('"Ops".stock');
    const place = await this.pickKey(stock, ['s'], '1');
    if (place) {
      const values = stock.key.map(({ name }) => place[name]);
      await this.client.query(
        `UPDATE "Ops".stock AS d SET quantity = (quantity / 2) - 1 WHERE ${this.isKey(stock)}`,
        values,
      );
    }
  }

  /** A department and its head, each of which needs the other. */
  private async foundDepartment(): Promise<void> {
    const owner = this.anyOwner();
    const code = `${owner}-${this.random.hex(8)}`;
    const [head] = await this.insert(this.maker.table('"Ops".employees'), owner, 1, { department: code });
    await this.insert(this.maker.table('"Ops".departments'), owner, 1, { code, head: head!.id! });
  }

  /** Keys that the other site writes, inserts and deletes too. */
  private async meet(): Promise<void> {
    const table = this.maker.table(this.random.pick(meetingPlaces));
    const [row] = await this.maker.make(this.client, table, 's', 1);
    const key = table.key.map(({ name }) => row![name]!);
    if (this.random.chance(0.3)) {
      await this.client.query(`DELETE FROM ${table.name} AS d WHERE ${this.isKey(table)}`, key);
      if (this.random.chance(0.5)) return;
    }
    const set = table.columns.filter((column) => !column.drawn).map(({ ident }) => `${ident} = excluded.${ident}`);
    const keys = table.key.map(({ ident }) => ident).join(', ');
    await this.client.query(insertion(table, [row!], `ON CONFLICT (${keys}) DO UPDATE SET ${set.join(', ')}`));
    if (table.name === '"Ops".tickets' && this.random.chance(0.3)) {
      await this.client.query('UPDATE "Ops".tickets SET number = DEFAULT WHERE name = $1', key);
    }
  }

  private async copyMany(): Promise<void> {
    const table = this.anyTable();
    if (meetingPlaces.includes(table.name)) return;
    const rows = await this.maker.make(this.client, table, this.anyOwner(), this.random.between(20, 60));
    if (rows.length === 0) return;
    const columns = table.columns.filter(({ name }) => name in rows[0]!);
    const lines = rows.map((row) => `${columns.map(({ name }) => copied(row[name]!)).join('\t')}\n`);
    const into = this.client.query(
      copyFrom(`COPY ${table.name} (${columns.map(({ ident }) => ident).join(', ')}) FROM STDIN`),
    );
    await pipeline(Readable.from(lines), into);
  }

  /** More than goes into a window that is held in memory. */
  private async importMany(): Promise<void> {
    const parents = ['"Ops".warehouses', 'sales.products'].map((name) => this.maker.table(name));
    const [warehouse, product] = [await this.pickKey(parents[0]!, ['s']), await this.pickKey(parents[1]!, ['s'])];
    await this.client.query(
      `INSERT INTO "Ops".stock_movements (warehouse, product_id, quantity, by)
       SELECT $1, $2, n, repeat(md5(n::text), 5) FROM generate_series(1, $3) AS n`,
      [warehouse?.code, product?.id, this.random.between(200, 1500)],
    );
  }

  private async updateMany(): Promise<void> {
    const table = this.anyTable();
    const column = this.random.pick(table.columns);
    if (column.key || column.drawn || table.references.some(({ columns }) => columns.includes(column.name))) return;
    const key = table.key.map(({ ident }) => ident).join(', ');
    await this.client.query(
      `UPDATE ${table.name} SET ${column.ident} = $1::text::${column.type} WHERE (${key}) IN (SELECT ${table.key.map(({ ident }) => `d.${ident}`).join(', ')}
         FROM ${table.name} AS d WHERE ${ownerOf(table)} IN ('s', $2) ORDER BY md5(${keyText(table)} || $3) LIMIT 40)`,
      [this.maker.value(table, column, 's'), this.site, this.random.hex(4)],
    );
  }

  /** What is taken back must not be sent. */
  private async changeMind(): Promise<void> {
    const { client } = this;
    await this.insertSome();
    const kept = [...this.inserted];
    await client.query('SAVEPOINT one');
    await this.updateHot();
    await this.remove();
    await this.insertSome();
    await client.query('ROLLBACK TO SAVEPOINT one');
    this.inserted = kept;
    await this.updateSome();
    if (this.random.chance(0.6)) return;
    this.inserted = [];
    await client.query('ROLLBACK AND CHAIN');
  }

  private async scratch(): Promise<void> {
    await this.client.query(
      this.random.chance(0.3) ? 'TRUNCATE "Ops".scratch' : 'DELETE FROM "Ops".scratch WHERE random() < 0.3',
    );
    const count = this.random.between(1, 20);
    await this.client.query(
      `INSERT INTO "Ops".scratch SELECT 's' || n, $1 FROM generate_series(1, $2) AS n ON CONFLICT (name) DO UPDATE SET note = excluded.note`,
      [this.random.hex(5), count],
    );
  }
}

/** A value in COPY's text format. */
function copied(value: string | null): string {
  if (value === null) return '\\N';
  return value.replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/\r/g, '\\r').replace(/\t/g, '\\t');
}
