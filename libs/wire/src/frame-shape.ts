import type { Frame } from './frame';
import { protocolVersion } from './protocol';

type Check = (value: unknown) => boolean;
type Shapes = {
  readonly [T in Frame['type']]: { readonly [K in Exclude<keyof (Frame & { type: T }), 'type'>]-?: Check };
};

const text: Check = (value) => typeof value === 'string';
const flag: Check = (value) => typeof value === 'boolean';
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const texts: Check = (value) => Array.isArray(value) && value.every(text);
const bytes: Check = (value) => value instanceof Uint8Array;
const kind: Check = (value) => value === 'window' || value === 'copy';
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const orAbsent =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const point: Check = (value) => isRecord(value) && text(value.table) && orNull(texts)(value.after);
const knowledge: Check = (value) =>
  isRecord(value) &&
  Object.values(value).every((known) => isRecord(known) && text(known.cursor) && texts(known.tables));

const seen: Check = (value) => isRecord(value) && Object.values(value).every(text);
const extent: Check = (value) => isRecord(value) && count(value.rows) && orNull(count)(value.of);
const mark: Check = (value) => isRecord(value) && text(value.node) && text(value.at);
const guards: Check = (value) =>
  isRecord(value) &&
  Object.values(value).every(
    (list) => Array.isArray(list) && list.every((marks) => Array.isArray(marks) && marks.every(mark)),
  );

/** What each member of each frame must be. Typed by the frames, so that a member without its check does not compile. */
const shapes: Shapes = {
  window: {
    protocol: count,
    node: text,
    epoch: text,
    kind,
    from: text,
    to: text,
    reached: orAbsent(text),
    more: flag,
    tables: texts,
    at: orNull(point),
    next: orNull(point),
    held: orAbsent(flag),
    knowledge,
    seen: orAbsent(seen),
    guards,
    whole: texts,
    extent: orAbsent(extent),
  },
  rows: { table: text, columns: texts, types: orAbsent(texts), count, deleted: count, literals: texts },
  copy: { table: text, columns: texts, types: orAbsent(texts) },
  data: { bytes },
  copied: { table: text, count },
  end: { rows: count },
};

/** Why a value is not a frame; null when it is one. A window of another protocol passes, to be refused by that name. */
export function frameFault(value: unknown): string | null {
  if (!isRecord(value) || typeof value.type !== 'string' || !Object.hasOwn(shapes, value.type)) {
    return 'A frame is of no known type';
  }
  if (value.type === 'window' && count(value.protocol) && value.protocol !== protocolVersion) return null;
  const wrong = Object.entries<Check>(shapes[value.type as Frame['type']]).find(([name, check]) => !check(value[name]));
  return wrong ? `A ${value.type} frame has no valid ${wrong[0]}` : null;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
