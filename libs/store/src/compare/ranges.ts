import type { DigestedRange, DigestPart, DigestRange, KeyRange } from '@pgmesh/core';
import type { PoolClient } from 'pg';
import { inData, inMeta, textKey } from '../keys';
import type { TableShape } from '../table-shape';
import { type Compared, digestTexts, encoded, isGone, rowsAndVersions, wholeDigest } from './row-digest';
import type { KeyOrder } from './key-order';

/** Reads digests of ranges of one table's keys, as one transaction shows it. */
export class RangeReader {
  constructor(
    private readonly client: Pick<PoolClient, 'query'>,
    private readonly shape: TableShape,
    private readonly compared: Compared,
    private readonly order: KeyOrder,
  ) {}

  async read(range: DigestRange): Promise<DigestedRange> {
    if (range.by === 'rows') return { rows: await this.rows(range) };
    return { parts: range.by === 'at' ? await this.cutAt(range, range.at) : await this.cutInto(range, range.parts) };
  }

  /** The key of the row `count` rows after the beginning of what comes from `from` on; null where there are not so many. */
  async keyAfter(from: readonly string[] | null, count: number): Promise<readonly string[] | null> {
    const ordered = this.order.expressions(inMeta('m'));
    const { rows } = await this.client.query<{ key: string[] }>(
      `SELECT ${textKey(this.shape, 'm')} AS key FROM ${this.shape.meta} AS m ${from ? `WHERE ${this.order.isFrom(ordered, 2)}` : ''}
       ORDER BY ${ordered.join(', ')} OFFSET $1 LIMIT 1`,
      [count, ...(from ?? [])],
    );
    return rows[0]?.key ?? null;
  }

  private async rows(range: KeyRange) {
    const values = new Values();
    const { rows } = await this.client.query<{ key: string[]; digest: string; gone: boolean }>(
      `SELECT e.key, ${encoded('e.digest')} AS digest, e.gone FROM ${this.entries(range, values)} AS e`,
      values.list,
    );
    return rows;
  }

  private async cutAt(range: KeyRange, at: readonly (readonly string[])[]): Promise<DigestPart[]> {
    const values = new Values();
    const entries = this.entries(range, values);
    const key = this.ordered.map((_, i) => `e.o${i + 1}`);
    const part = at.map((bound) => `(${this.order.isFrom(key, values.add(bound))})::int4`);
    const { rows } = await this.client.query<PartRow>(
      `SELECT e.part, ${combined}, NULL::text[] AS first FROM (SELECT ${['0', ...part].join(' + ')} AS part, e.* FROM ${entries} AS e) AS e GROUP BY e.part`,
      values.list,
    );
    const found = new Map(rows.map((row) => [row.part, row]));
    return [range.from, ...at].map((from, i) => {
      const { rows: count = 0, live = 0, digest = '' } = found.get(i) ?? {};
      return { from, rows: count, live, digest };
    });
  }

  private async cutInto(range: KeyRange, parts: number): Promise<DigestPart[]> {
    const values = new Values();
    const order = this.ordered.map((_, i) => `e.o${i + 1}`).join(', ');
    const { rows } = await this.client.query<PartRow>(
      `WITH e AS MATERIALIZED (SELECT e.*, row_number() OVER (ORDER BY ${order}) - 1 AS n, greatest(1, (count(*) OVER () + ${parts - 1}) / ${parts}) AS size
         FROM ${this.entries(range, values)} AS e)
       SELECT e.n / e.size AS part, ${combined}, max(e.key) FILTER (WHERE e.n % e.size = 0) AS first FROM e GROUP BY e.n / e.size ORDER BY 1`,
      values.list,
    );
    if (rows.length === 0) return [{ from: range.from, rows: 0, live: 0, digest: '' }];
    // Where the other has keys before the first of ours, they belong to our first part.
    return rows.map(({ rows: count, live, digest, first }, i) => ({
      from: i === 0 ? range.from : first,
      rows: count,
      live,
      digest,
    }));
  }

  private get ordered(): string[] {
    return this.order.expressions((column, i) => `coalesce(m.key${i + 1}, d.${column.ident})`);
  }

  private entries(range: KeyRange, values: Values): string {
    const inRange = (key: readonly string[]) =>
      [
        ...(range.from ? [this.order.isFrom(key, values.add(range.from))] : []),
        ...(range.to ? [this.order.isBefore(key, values.add(range.to))] : []),
        'true',
      ].join(' AND ');
    const data = inRange(this.order.expressions(inData('d')));
    const meta = inRange(this.order.expressions(inMeta('m')));
    const texts = digestTexts(this.shape, this.compared);
    const ordered = this.ordered.map((sql, i) => `${sql} AS o${i + 1}`).join(', ');
    return `(SELECT ${texts.key} AS key, ${ordered}, ${wholeDigest(texts)} AS digest, coalesce(${isGone(this.compared.settled)}, false) AS gone, d."p2p.there" AS live
      FROM ${rowsAndVersions(this.shape, { data, meta })})`;
  }
}

interface PartRow {
  part: number;
  rows: number;
  live: number;
  digest: string;
  first: string[] | null;
}

/**
 * A digest over the rows' digests in their own order: what is there twice, or exchanged, does not cancel out as it may in a sum or an XOR, and the order
 * of the keys makes no difference.
 */
const combined = `count(*) AS rows, count(e.live) AS live,
  ${encoded(`substring(sha256(string_agg(e.digest, ''::bytea ORDER BY e.digest)), 1, 16)`)} AS digest`;

/** The parameters of a statement as it is being written. */
class Values {
  readonly list: string[] = [];

  /** The number of the first of them. */
  add(texts: readonly string[]): number {
    this.list.push(...texts);
    return this.list.length - texts.length + 1;
  }
}
