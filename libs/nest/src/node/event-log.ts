import type { LoggerService } from '@nestjs/common';
import type { MeshEvent, MeshListener } from '@pgmesh/sync';

type Level = 'log' | 'warn' | 'debug';

const levels: Readonly<Record<MeshEvent['type'], Level>> = {
  peer_found: 'log',
  peer_connected: 'log',
  peer_unreachable: 'warn',
  peer_left: 'log',
  member_joined: 'log',
  member_evicted: 'warn',
  member_returned: 'log',
  collected: 'log',
  changes_received: 'log',
  changes_sent: 'debug',
  sync_failed: 'warn',
  rows_differ: 'warn',
  rules_differ: 'warn',
  constraints_differ: 'warn',
  sequences_clash: 'warn',
  rules_changed: 'log',
  table_paused: 'warn',
  table_resumed: 'log',
  copy_progress: 'debug',
  conflict: 'debug',
  more_conflicts: 'debug',
  conflict_ended: 'log',
  parked: 'warn',
  unparked: 'log',
  more_parked: 'warn',
  more_unparked: 'log',
  news: 'debug',
};

/** How long the same failure of a table's conflicts is told once, in milliseconds: a resolver that fails does so for row after row. */
const quiet = 60_000;

/** How often the progress of a first copy is told, in milliseconds. */
const between = 10_000;

/** One line of the log for each event of the mesh, with the event's own members. */
export class EventLog {
  private readonly failures = new Map<string, { readonly open: string; readonly at: number }>();

  /** By peer, when the progress of a copy from it was told. */
  private readonly copies = new Map<string, number>();

  constructor(private readonly log: LoggerService) {}

  readonly listener: MeshListener = (event) => {
    const { at: _at, node_id: _node, type, ...members } = event;
    this.log[this.levelOf(event)]?.({ msg: type, ...members });
  };

  private levelOf(event: MeshEvent): Level {
    if ('differences' in event && event.differences.length === 0) return 'log';
    if (event.type === 'conflict' && this.isNewFailure(event)) return 'warn';
    // A row that waits for the one that it refers to is no error: that one may be on its way.
    if (event.type === 'parked' && event.reason === 'reference') return 'log';
    if (event.type === 'copy_progress' && this.isDue(event)) return 'log';
    return levels[event.type];
  }

  /** A copy's end is told where it brought anything, and how far it is now and then. */
  private isDue({ peer, table, copied }: Extract<MeshEvent, { type: 'copy_progress' }>): boolean {
    const told = this.copies.get(peer);
    if (table === null) {
      this.copies.delete(peer);
      return copied > 0;
    }
    if (told !== undefined && performance.now() - told < between) return false;
    this.copies.set(peer, performance.now());
    return true;
  }

  /** Whether the rule was to decide, could not, and the log has not said so lately. */
  private isNewFailure({ table, rule, open }: Extract<MeshEvent, { type: 'conflict' }>): boolean {
    if (open === null || rule.strategy === 'manual') return false;
    const told = this.failures.get(table);
    if (told?.open === open && performance.now() - told.at < quiet) return false;
    this.failures.set(table, { open, at: performance.now() });
    return true;
  }
}
