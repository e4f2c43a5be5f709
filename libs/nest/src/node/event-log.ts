import type { LoggerService } from '@nestjs/common';
import type { MeshEvent, MeshListener } from '@pgmesh/sync';

type Level = 'log' | 'warn' | 'debug';

const levels: Readonly<Record<MeshEvent['type'], Level>> = {
  peer_found: 'log',
  peer_connected: 'log',
  peer_unreachable: 'warn',
  peer_left: 'log',
  changes_received: 'log',
  changes_sent: 'debug',
  sync_failed: 'warn',
  rules_differ: 'warn',
  rules_changed: 'log',
  table_paused: 'warn',
  table_resumed: 'log',
  copy_progress: 'debug',
  conflict: 'debug',
  more_conflicts: 'debug',
  conflict_ended: 'log',
  news: 'debug',
};

/** One line of the log for each event of the mesh, with the event's own members. */
export class EventLog {
  constructor(private readonly log: LoggerService) {}

  readonly listener: MeshListener = ({ at: _at, node_id: _node, type, ...members }) => {
    const level = levels[type];
    this.log[level]?.({ msg: type, ...members });
  };
}
