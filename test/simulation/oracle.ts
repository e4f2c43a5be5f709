import type { Resolver, ResolverSide, RowImage, StrategyName } from '@pgmesh/core';
import { columns, type ModelCell, type ModelMember, type ModelRow, printed, type Written } from './model';

/** Whether a write's author knew another write, or made it. */
function knew(one: Written, other: Written): boolean {
  return one === other || ((one.seen >> BigInt(other.index)) & 1n) === 1n;
}

function later(a: Written, b: Written): boolean {
  const [x, y] = [a.version, b.version];
  return x.stamp === y.stamp ? x.origin > y.origin : x.stamp > y.stamp;
}

function latest(writes: readonly Written[]): Written {
  return writes.reduce((best, one) => (later(one, best) ? one : best));
}

/** The writes among those of the mask `known` that no other one's author knew: the conflict, or the one that stands. */
export function frontier(written: readonly Written[], known: bigint): Written[] {
  const all = written.filter(({ index }) => ((known >> BigInt(index)) & 1n) === 1n);
  return all.filter((one) => !all.some((other) => other !== one && knew(other, one)));
}

/** What stands, where it comes from, and by which strategy. */
export interface Expected {
  readonly image: RowImage | null;
  /** The row with the author of each field, where fields are told apart. */
  readonly row: ModelRow | null;
  readonly main: Written;
  readonly open: boolean;
}

/** The row that stands for concurrent writes, from the definition of each strategy. */
export function standing(
  writes: readonly Written[],
  strategy: StrategyName,
  resolver: Resolver,
  key: string,
): Expected {
  const one = (main: Written, open = false): Expected => ({ image: printed(main.row), row: main.row, main, open });
  if (writes.length === 1) return one(writes[0]!);
  switch (strategy) {
    case 'last-write-wins':
      return one(latest(writes));
    case 'manual':
      return one(latest(writes), true);
    case 'first-write-wins':
      return one(writes.find((first) => writes.every((other) => other === first || later(other, first)))!);
    case 'node-priority': {
      const priority = Math.max(...writes.map(({ version }) => version.priority));
      return one(latest(writes.filter(({ version }) => version.priority === priority)));
    }
    case 'merge-fields': {
      const live = writes.filter(({ row }) => row !== null);
      if (live.length === 0) return one(latest(writes));
      const row = composed(live);
      return { image: printed(row), row, main: latest(live), open: false };
    }
    case 'custom':
      return byResolver(writes, resolver, key) ?? one(latest(writes), true);
  }
}

/** For each field: of the authors that the versions show, less those that were knowingly passed over, the latest one's value. */
function composed(live: readonly Written[]): ModelRow {
  const cells = columns.map((column) => [column, composedCell(live, column)] as const);
  return Object.fromEntries(cells) as unknown as ModelRow;
}

function composedCell(live: readonly Written[], column: (typeof columns)[number]): ModelCell {
  const author = (version: Written) => version.row![column].by;
  const stands = live.filter(
    (version) => !live.some((other) => knew(other, author(version)) && later(author(version), author(other))),
  );
  const by = latest(stands.map(author));
  const source = latest(live.filter((version) => author(version) === by));
  const { value } = source.row![column];
  return { by, value: isDocument(value) ? composedDocument(live) : value };
}

function composedDocument(live: readonly Written[]): ReadonlyMap<string, ModelMember> {
  const documents = live.filter(({ row }) => isDocument(row!.doc.value));
  const member = (version: Written, key: string) =>
    (version.row!.doc.value as ReadonlyMap<string, ModelMember>).get(key);
  const keys = new Set(
    documents.flatMap(({ row }) => [...(row!.doc.value as ReadonlyMap<string, ModelMember>).keys()]),
  );
  const members = new Map<string, ModelMember>();
  for (const key of keys) {
    const shown = documents.flatMap((version) => member(version, key) ?? []);
    const passedOver = ({ by }: ModelMember) =>
      documents.some((other) => {
        const there = member(other, key);
        return knew(other, by) && (there === undefined || later(by, there.by));
      });
    const standing = shown.filter((one) => !passedOver(one));
    if (standing.length === 0) continue;
    const by = latest(standing.map((one) => one.by));
    members.set(
      key,
      standing.find((one) => one.by === by)!,
    );
  }
  return members;
}

function isDocument(value: ModelCell['value']): boolean {
  return value instanceof Map;
}

/** The function folded from the earliest write to the latest; undefined when an answer is no row of this key. */
function byResolver(writes: readonly Written[], resolver: Resolver, key: string): Expected | undefined {
  if (writes.every(({ row }) => row === null)) {
    const main = latest(writes);
    return { image: null, row: null, main, open: false };
  }
  const inOrder = [...writes].sort((a, b) => (later(a, b) ? 1 : -1));
  const side = ({ row, version: { stamp, origin } }: Written): ResolverSide => {
    return { value: printed(row), stamp, origin, vector: {} };
  };
  let value = printed(inOrder[0]!.row);
  for (const [i, next] of inOrder.slice(1).entries()) {
    let answer: RowImage | null;
    try {
      answer = resolver([key], { ...side(inOrder[i]!), value }, side(next));
    } catch {
      return undefined;
    }
    if (answer !== null && Object.keys(answer).sort().join() !== [...columns].sort().join()) return undefined;
    value = answer;
  }
  const alike = writes.filter(({ row }) => (row === null) === (value === null));
  const main = latest(alike.length > 0 ? alike : writes);
  return { image: value, row: null, main, open: false };
}
