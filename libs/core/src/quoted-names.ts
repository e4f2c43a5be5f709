/** A name as it was written, quoted or not; null when quotes stand where they cannot. */
export function unquote(name: string): string | null {
  if (!name.includes('"')) return name;
  const inner = /^"((?:[^"]|"")*)"$/.exec(name)?.[1];
  return inner === undefined ? null : inner.replaceAll('""', '"');
}

/** The parts between signs that stand outside of double quotes, untouched. */
export function splitOutsideQuotes(text: string, sign: string): string[] {
  const parts = [''];
  let quoted = false;
  for (const char of text) {
    if (char === '"') quoted = !quoted;
    if (char === sign && !quoted) parts.push('');
    else parts[parts.length - 1] += char;
  }
  return parts;
}
