import type { RowImage, RowVersion } from '@pgmesh/core';

/**
 * The oracle: what the strategies mean, told of whole histories. It knows of each write which others its writer had really seen,
 * and of each field which write it stems from; it has no vectors, no field stamps and no merging, and parses no text.
 */
export interface Written {
  readonly index: number;
  readonly version: RowVersion;
  /** The writes that its writer had seen, in whatever way they came: one bit each. */
  readonly seen: bigint;
  /** The row that it left; null for a deletion. */
  readonly row: ModelRow | null;
}

export interface ModelRow {
  readonly id: ModelCell;
  readonly a: ModelCell;
  readonly b: ModelCell;
  readonly doc: ModelCell;
}

export interface ModelCell {
  readonly by: Written;
  readonly value: string | null | ReadonlyMap<string, ModelMember>;
}

export interface ModelMember {
  readonly by: Written;
  readonly value: string;
}

export const columns = ['id', 'a', 'b', 'doc'] as const;

/** What somebody does to a row: sets a column, sets or removes a key of the document, or deletes the row. */
export type Edit =
  | { readonly do: 'set'; readonly column: 'a' | 'b'; readonly value: string | null }
  | { readonly do: 'replace'; readonly doc: string | null | Readonly<Record<string, string>> }
  | { readonly do: 'member'; readonly key: string; readonly value: string | null }
  | { readonly do: 'delete' };

/** The row that an edit leaves. Every field that it changed is `self`'s, all of them where fields are not told apart. */
export function edited(
  base: ModelRow | null,
  edit: Edit,
  id: string,
  self: Written,
  byField: boolean,
): ModelRow | null {
  if (edit.do === 'delete') return null;
  const blank = (value: string | null): ModelCell => ({ by: self, value });
  const row: ModelRow = base ?? { id: blank(id), a: blank('0'), b: blank(null), doc: { by: self, value: new Map() } };
  const after = withEdit(row, edit, self);
  return byField ? after : ownedBy(self, after);
}

function withEdit(row: ModelRow, edit: Exclude<Edit, { do: 'delete' }>, self: Written): ModelRow {
  if (edit.do === 'set')
    return row[edit.column].value === edit.value ? row : { ...row, [edit.column]: { by: self, value: edit.value } };
  const old = row.doc.value instanceof Map ? (row.doc.value as ReadonlyMap<string, ModelMember>) : null;
  if (edit.do === 'replace' && (edit.doc === null || typeof edit.doc === 'string'))
    return row.doc.value === edit.doc ? row : { ...row, doc: { by: self, value: edit.doc } };
  const texts = new Map(
    edit.do === 'replace'
      ? Object.entries(edit.doc as Record<string, string>)
      : [...(old ?? [])].map(([key, { value }]) => [key, value] as const),
  );
  if (edit.do === 'member' && edit.value === null) texts.delete(edit.key);
  if (edit.do === 'member' && edit.value !== null) texts.set(edit.key, edit.value);
  const same =
    old !== null && old.size === texts.size && [...texts].every(([key, text]) => old.get(key)?.value === text);
  if (same) return row;
  const members = new Map(
    [...texts].map(([key, value]) => {
      const before = old?.get(key);
      return [key, before?.value === value ? before : { by: self, value }] as const;
    }),
  );
  return { ...row, doc: { by: self, value: members } };
}

function ownedBy(self: Written, row: ModelRow): ModelRow {
  const members = ({ value }: ModelCell) =>
    value instanceof Map
      ? new Map([...(value as ReadonlyMap<string, ModelMember>)].map(([key, { value }]) => [key, { by: self, value }]))
      : value;
  return Object.fromEntries(
    columns.map((column) => [column, { by: self, value: members(row[column]) }]),
  ) as unknown as ModelRow;
}

/** The row as PostgreSQL would print it. The keys of a document are ASCII here: shorter first, then by letter. */
export function printed(row: ModelRow | null): RowImage | null {
  if (row === null) return null;
  const { id, a, b, doc } = row;
  return { id: id.value as string, a: a.value as string, b: b.value as string | null, doc: printedDoc(doc) };
}

function printedDoc({ value }: ModelCell): string | null {
  if (!(value instanceof Map)) return value as string | null;
  const members = [...(value as ReadonlyMap<string, ModelMember>)];
  members.sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1));
  return `{${members.map(([key, { value }]) => `"${key}": ${value}`).join(', ')}}`;
}
