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

/** One line of the log for each event of the mesh, with the event's own members. */
export class EventLog {
  constructor(private readonly log: LoggerService) {}

  readonly listener: MeshListener = (event) => {
    const { at: _at, node_id: _node, type, ...members } = event;
    this.log[levelOf(event)]?.({ msg: type, ...members });
  };
}

/** A row that waits for the one that it refers to is no error: that one may be on its way. */
function levelOf(event: MeshEvent): Level {
  return event.type === 'parked' && event.reason === 'reference' ? 'log' : levels[event.type];
}
