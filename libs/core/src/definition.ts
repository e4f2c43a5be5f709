/** Types between which values flow as they are: PostgreSQL prints casts to one where the column is of another. */
const casts = /^(text|character varying|varchar|numeric|smallint|integer|bigint)$/;

type Part = string | readonly Part[];

/**
 * What a definition says, apart from how PostgreSQL prints it for columns of one type or another that take each other's values
 * (`lower((mail)::text)` of a varchar, `lower(mail)` of a text): without casts between these and without brackets around single things.
 * Definitions that mean the same may still differ; equal ones keep out the same rows.
 */
export function essence(definition: string): string {
  const tokens = definition.match(/'(?:[^']|'')*'|"(?:[^"]|"")*"|\w+|::|\s+|[^]/g) ?? [];
  const joined = joinWords(tokens.filter((token) => token.trim() !== ''));
  return written(unwrapped(nested(withoutCasts(joined)).parts));
}

/** `character varying` is one type of two words. */
function joinWords(tokens: readonly string[]): string[] {
  return tokens.flatMap((token, i) => {
    if (token === 'character' && tokens[i + 1] === 'varying') return ['character varying'];
    return token === 'varying' && tokens[i - 1] === 'character' ? [] : [token];
  });
}

function withoutCasts(tokens: readonly string[]): string[] {
  const left: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i] !== '::' || !casts.test(tokens[i + 1] ?? '')) {
      left.push(tokens[i]!);
      continue;
    }
    i += 1;
    // A length, or an array.
    if (tokens[i + 1] === '(') i = tokens.indexOf(')', i);
    while (tokens[i + 1] === '[' && tokens[i + 2] === ']') i += 2;
  }
  return left;
}

/** What stands in brackets as a list of its own, up to the bracket that closes what begins at `from`. */
function nested(tokens: readonly string[], from = 0): { readonly parts: readonly Part[]; readonly end: number } {
  const parts: Part[] = [];
  for (let i = from; i < tokens.length; i++) {
    if (tokens[i] === ')') return { parts, end: i };
    if (tokens[i] !== '(') {
      parts.push(tokens[i]!);
      continue;
    }
    const inner = nested(tokens, i + 1);
    parts.push(inner.parts);
    i = inner.end;
  }
  return { parts, end: tokens.length };
}

function unwrapped(parts: readonly Part[]): readonly Part[] {
  return parts.flatMap((part): readonly Part[] => {
    if (typeof part === 'string') return [part];
    const inner = unwrapped(part);
    const isSingle = inner.length === 1 || (inner[0] === 'ARRAY' && inner.indexOf(']') === inner.length - 1);
    return isSingle ? inner : [inner];
  });
}

function written(parts: readonly Part[]): string {
  return parts.map((part) => (typeof part === 'string' ? part : `(${written(part)})`)).join(' ');
}
