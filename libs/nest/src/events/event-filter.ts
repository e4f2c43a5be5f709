import type { MeshEvent } from '@pgmesh/sync';

/** Which events a listener wants: `?types=changes_received,conflict&tables=products`. Nothing said is everything. */
export class EventFilter {
  private readonly types: ReadonlySet<string> | null;
  private readonly tables: ReadonlySet<string> | null;

  constructor(query: URLSearchParams) {
    this.types = namesIn(query, 'types');
    const tables = namesIn(query, 'tables');
    this.tables = tables && new Set([...tables, ...[...tables].map((name) => `public.${name}`)]);
  }

  /** An event that concerns no table in particular is wanted whatever tables are asked for. */
  wants(event: MeshEvent): boolean {
    if (this.types && !this.types.has(event.type)) return false;
    const concerned = tablesOf(event);
    return this.tables === null || concerned === null || concerned.some((table) => this.tables!.has(table));
  }
}

function tablesOf(event: MeshEvent): readonly string[] | null {
  switch (event.type) {
    case 'changes_received':
    case 'changes_sent':
      return Object.keys(event.tables);
    case 'more_conflicts':
    case 'more_parked':
    case 'more_unparked':
    case 'peer_connected':
      return event.tables;
    case 'conflict':
    case 'conflict_ended':
    case 'parked':
    case 'unparked':
    case 'table_paused':
    case 'table_resumed':
      return [event.table];
    case 'copy_progress':
      return event.table === null ? null : [event.table];
    default:
      return null;
  }
}

function namesIn(query: URLSearchParams, parameter: string): ReadonlySet<string> | null {
  const names = query
    .getAll(parameter)
    .flatMap((value) => value.split(','))
    .map((name) => name.trim())
    .filter(Boolean);
  return names.length === 0 ? null : new Set(names);
}
