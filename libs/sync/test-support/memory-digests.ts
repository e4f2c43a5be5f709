import type { DigestedRange, DigestPart, DigestRange, HeldRow, KeyRange } from '@pgmesh/core';
import { createHash } from 'node:crypto';
import type { Comparison, OutgoingWindow, RowDigests } from '../src/ports';

/** Rows by which a table in memory is digested; keys are of one column. */
export interface HeldTable {
  readonly rows: () => readonly HeldRow[];
  readonly open: (keys: readonly string[]) => Promise<OutgoingWindow>;
  readonly rewrite: (key: string) => void;
}

/** The second implementation of the port: over rows in memory, in an order of keys that may be another than other nodes'. */
export class MemoryDigests implements RowDigests {
  #last: { readonly rows: readonly HeldRow[]; readonly sorted: HeldRow[] } = { rows: [], sorted: [] };

  constructor(
    private readonly table: (name: string) => HeldTable,
    private readonly snapshot: () => string = () => '1:',
    private readonly before: (a: string, b: string) => boolean = (a, b) => a < b,
  ) {}

  async order(): Promise<string> {
    return 'text';
  }

  async settled(): Promise<boolean> {
    return false;
  }

  async read({ table }: Pick<Comparison, 'table'>, ranges: readonly DigestRange[]): Promise<DigestedRange[]> {
    return ranges.map((range) => this.#digest(this.#sorted(table), range));
  }

  async endOf({ table }: Pick<Comparison, 'table'>, from: readonly string[] | null, count: number) {
    return this.#sorted(table).filter((row) => this.#isIn(row, { from, to: null }))[count]?.key ?? null;
  }

  async held({ table }: Pick<Comparison, 'table'>, keys: readonly (readonly string[])[]) {
    const rows = new Map(
      this.table(table)
        .rows()
        .map((row) => [row.key[0], row]),
    );
    const absent = { digest: '', value: null, version: null, untouched: false };
    return { snapshot: this.snapshot(), rows: keys.map((key) => rows.get(key[0]!) ?? { key, ...absent }) };
  }

  open(table: string, keys: readonly (readonly string[])[]): Promise<OutgoingWindow> {
    return this.table(table).open(keys.map(([key]) => key!));
  }

  async settle(
    { table }: Pick<Comparison, 'table'>,
    remedies: Parameters<RowDigests['settle']>[1],
    meanwhile = async () => {},
  ) {
    await meanwhile();
    for (const { key } of remedies) this.table(table).rewrite(key[0]!);
    return remedies.length;
  }

  #sorted(table: string): HeldRow[] {
    const rows = this.table(table).rows();
    if (this.#last.rows !== rows) {
      this.#last = { rows, sorted: [...rows].sort((a, b) => (this.before(a.key[0]!, b.key[0]!) ? -1 : 1)) };
    }
    return this.#last.sorted;
  }

  #isIn({ key: [key] }: HeldRow, { from, to }: KeyRange): boolean {
    return !(from && this.before(key!, from[0]!)) && (to === null || this.before(key!, to[0]!));
  }

  #digest(all: readonly HeldRow[], range: DigestRange): DigestedRange {
    const rows = all.filter((row) => this.#isIn(row, range));
    if (range.by === 'rows')
      return { rows: rows.map((row) => ({ key: row.key, digest: row.digest, gone: isGone(row) })) };
    if (range.by === 'at') {
      const part = (row: HeldRow) => range.at.filter(([bound]) => !this.before(row.key[0]!, bound!)).length;
      return {
        parts: [range.from, ...range.at].map((from, i) =>
          partOf(
            from,
            rows.filter((row) => part(row) === i),
          ),
        ),
      };
    }
    const size = Math.max(1, Math.ceil(rows.length / range.parts));
    const count = Math.max(1, Math.ceil(rows.length / size));
    const cut = (i: number) => rows.slice(i * size, (i + 1) * size);
    return { parts: Array.from({ length: count }, (_, i) => partOf(i === 0 ? range.from : cut(i)[0]!.key, cut(i))) };
  }
}

function partOf(from: readonly string[] | null, rows: readonly HeldRow[]): DigestPart {
  const digests = rows.map(({ digest }) => digest).sort();
  const digest = rows.length === 0 ? '' : createHash('sha256').update(JSON.stringify(digests)).digest('base64');
  return { from, rows: rows.length, live: rows.filter((row) => !isGone(row)).length, digest };
}

const isGone = ({ value, version }: HeldRow): boolean => value === null && version !== null && version.deleted;
