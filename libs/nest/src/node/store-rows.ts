import type { PostgresStore, Restored, TableShape, VersionName, WhyView } from '@pgmesh/store';
import { Problem } from '@pgmesh/wire';
import type { Rows, ShownKey } from './ports';

/** Single rows of the tables that a PostgreSQL store shares. */
export class StoreRows implements Rows {
  constructor(private readonly store: PostgresStore) {}

  async key(table: string, text: string): Promise<readonly string[]> {
    return (await this.find(table, text)).key;
  }

  async history(table: string, text: string) {
    const { shape, key } = await this.find(table, text);
    return { key: shown(shape, key), versions: await this.store.rowHistory.list(shape, key) };
  }

  async restore(table: string, text: string, version: VersionName): Promise<Restored & { readonly key: ShownKey }> {
    const { shape, key } = await this.find(table, text);
    return { ...(await this.store.rowHistory.restore(shape, key, version)), key: shown(shape, key) };
  }

  async why(table: string, text: string): Promise<WhyView> {
    const { shape, key } = await this.find(table, text);
    return this.store.why(shape, key);
  }

  private async find(table: string, text: string): Promise<{ shape: TableShape; key: string[] }> {
    const shape = this.store.find(table);
    if (!shape) throw new Problem('not_found', `${table} is not shared any more.`);
    return { shape, key: await this.store.rowKey(shape, text) };
  }
}

function shown(shape: TableShape, key: readonly string[]): ShownKey {
  return Object.fromEntries(shape.key.map(({ name }, i) => [name, key[i]!]));
}
