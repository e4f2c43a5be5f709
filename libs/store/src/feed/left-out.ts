import type { Seen } from '@pgmesh/core';

/** Rows that others are expected to bring the reader sooner: those that came by way of a node, or were written by it, and those of an origin. */
export interface Later {
  readonly nodes: readonly string[];
  readonly origins: readonly string[];
  /** What came here in transactions below this one has been waited for long enough. */
  readonly from: bigint;
}

/** What of a feed need not be sent. */
export interface LeftOut {
  /** Feeds of which the reader has all that we have, by `feedName`. */
  readonly feeds: readonly string[];
  /** Of each origin what it has. */
  readonly seen: Seen;
  readonly later: Later | null;
}

/** Nothing: who reads has none of it. */
export const nothingLeftOut: LeftOut = { feeds: [], seen: {}, later: null };

/** Parameters for `leftOutArgs`, in their order. */
export function leftOutValues({ feeds, seen, later }: LeftOut): unknown[] {
  return [
    feeds,
    JSON.stringify(snapshots(seen)),
    later?.nodes ?? [],
    later?.origins ?? [],
    later ? String(later.from) : null,
  ];
}

/** SQL for what is left out: parameters or literals. */
export interface LeftOutArgs {
  readonly except: string;
  readonly seen?: string;
  readonly later?: { readonly nodes: string; readonly origins: string; readonly from: string };
}

/** The parameters from `$first` on. */
export function leftOutArgs(first: number): LeftOutArgs & Required<Pick<LeftOutArgs, 'later'>> {
  const [except, seen, nodes, origins, from] = ['text[]', 'jsonb', 'text[]', 'text[]', 'xid8'].map(
    (type, i) => `$${first + i}::${type}`,
  ) as [string, string, string, string, string];
  return { except, seen, later: { nodes, origins, from } };
}

/** The same as literals. */
export function leftOutLiterals({ feeds, seen, later }: LeftOut): LeftOutArgs {
  return {
    except: textArray(feeds),
    seen: `${quoted(JSON.stringify(snapshots(seen)))}::jsonb`,
    ...(later && {
      later: { nodes: textArray(later.nodes), origins: textArray(later.origins), from: `'${later.from}'::xid8` },
    }),
  };
}

/** Which metadata rows `v` the reader lacks. What a peer brought is known by its origin where it stands alone, and the origin made it. */
export function isLacking(args: LeftOutArgs): string {
  const notFrom = `(v.via IS NULL OR v.via <> ALL (${args.except}))`;
  const notSeen = `(v.via IS NULL OR v.siblings IS NOT NULL
    OR coalesce(v.made_in, v.via) <> v.origin
    OR pg_visible_in_snapshot(v.made_xid, (${args.seen} ->> v.origin)::pg_snapshot) IS NOT TRUE)`;
  return args.seen ? `${notFrom} AND ${notSeen}` : notFrom;
}

/** Which of these others bring it. */
export function isExpected({ nodes, origins }: NonNullable<LeftOutArgs['later']>): string {
  return `(v.via IS NOT NULL AND (split_part(v.via, '~', 1) = ANY (${nodes}) OR split_part(v.origin, '~', 1) = ANY (${nodes})
    OR v.origin = ANY (${origins})))`;
}

/** Texts of ours as an SQL array. */
export function textArray(texts: readonly string[]): string {
  return `ARRAY[${texts.map(quoted).join(', ')}]::text[]`;
}

function quoted(text: string): string {
  return `'${text.replace(/'/g, "''")}'`;
}

/** As PostgreSQL reads them. */
function snapshots(seen: Seen): Record<string, string> {
  const shown = Object.entries(seen).filter(([, { xmax }]) => xmax > 0n);
  return Object.fromEntries(
    shown.map(([origin, { xmax, xip }]) => [origin, `${xip[0] ?? xmax}:${xmax}:${xip.join(',')}`]),
  );
}
