/**
 * The top-level members of a jsonb object, as slices of PostgreSQL's text. The values are not parsed (invariant 8): a number of
 * twenty digits stays one, and 1.0 does not become 1.00.
 */
export type JsonbMembers = ReadonlyMap<string, string>;

/** The members of an object's text by their key; null when the text is not an object (or NULL). */
export function splitObject(text: string | null): JsonbMembers | null {
  if (text === null) return null;
  const members = new Map<string, string>();
  let at = skipSpace(text, 0);
  if (text[at] !== '{') return null;
  at = skipSpace(text, at + 1);
  if (text[at] === '}') return skipSpace(text, at + 1) === text.length ? members : null;
  for (;;) {
    const keyEnd = text[at] === '"' ? stringEnd(text, at) : -1;
    if (keyEnd < 0) return null;
    const key = decodeKey(text.slice(at, keyEnd));
    at = skipSpace(text, keyEnd);
    if (key === null || text[at] !== ':') return null;
    const start = skipSpace(text, at + 1);
    const end = valueEnd(text, start);
    if (end <= start) return null;
    members.set(key, text.slice(start, end).trimEnd());
    if (text[end] === '}') return skipSpace(text, end + 1) === text.length ? members : null;
    at = skipSpace(text, end + 1);
  }
}

/** The object's text as PostgreSQL prints it: shorter keys first, those of one length by their bytes. */
export function joinObject(members: JsonbMembers): string {
  const keys = [...members.keys()].map((key) => ({ key, bytes: utf8.encode(key) }));
  keys.sort((a, b) => a.bytes.length - b.bytes.length || compareBytes(a.bytes, b.bytes));
  // JSON.stringify escapes a string exactly as PostgreSQL does: by letter where there is one, else \u00xx below a space.
  return `{${keys.map(({ key }) => `${JSON.stringify(key)}: ${members.get(key)!}`).join(', ')}}`;
}

const utf8 = new TextEncoder();

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const i = a.findIndex((byte, n) => byte !== b[n]);
  return i < 0 ? 0 : a[i]! - b[i]!;
}

function decodeKey(quoted: string): string | null {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return null;
  }
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\t' || text[at] === '\r') at++;
  return at;
}

/** Where the string that begins at `from` ends, its quote included; -1 when it does not. */
function stringEnd(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at + 1;
  }
  return -1;
}

/** Where the value that begins at `from` ends: at the comma or brace of the object around it; -1 when that never comes. */
function valueEnd(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const sign = text[at];
    if (sign === '"') {
      at = stringEnd(text, at) - 1;
      if (at < 0) return -1;
    } else if (sign === '{' || sign === '[') depth++;
    else if (depth === 0 && (sign === ',' || sign === '}')) return at;
    else if (sign === '}' || sign === ']') depth--;
    if (depth < 0) return -1;
  }
  return -1;
}
