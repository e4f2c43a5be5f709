import type { ConstraintDifference, Slot, SlotClash } from '@pgmesh/core';
import type { CopyState } from './copy-watch';
import type { ConflictNote, NamedVersion, ParkedNote } from './ports';
import type { PausedTable, RulesDiffer } from './status';

/** What happens in the mesh, as WebSocket clients are told it: JSON, snake_case. `peer` is a node id, or a URL until that is known. */
export type MeshNews =
  | { readonly type: 'peer_found'; readonly peer: string; readonly url: string }
  | { readonly type: 'peer_connected'; readonly peer: string; readonly url: string; readonly tables: readonly string[] }
  | { readonly type: 'peer_unreachable'; readonly peer: string; readonly url: string; readonly detail: string }
  | { readonly type: 'peer_left'; readonly peer: string; readonly url: string }
  /** A node has been heard of that never was before, by itself or by others. */
  | { readonly type: 'member_joined'; readonly member: string; readonly epoch: string }
  /** Nobody waits for it any longer: `by` is the node where that was said. It was heard of last at `last_seen`. */
  | {
      readonly type: 'member_evicted';
      readonly member: string;
      readonly by: string;
      readonly last_seen: string;
    }
  /** One that was evicted has been heard of again. */
  | { readonly type: 'member_returned'; readonly member: string }
  /** Deletions that every member has come past were forgotten. */
  | { readonly type: 'collected'; readonly table: string; readonly count: number }
  | {
      readonly type: 'changes_received';
      readonly peer: string;
      readonly kind: 'window' | 'copy';
      readonly rows: number;
      readonly changed: number;
      readonly conflicts: number;
      /** Rows that changed something, by table. */
      readonly tables: Readonly<Record<string, number>>;
    }
  | {
      readonly type: 'changes_sent';
      readonly peer: string;
      readonly kind: 'window' | 'copy';
      readonly rows: number;
      /** Rows by table. */
      readonly tables: Readonly<Record<string, number>>;
    }
  | { readonly type: 'sync_failed'; readonly peer: string; readonly code: string; readonly detail: string }
  /** Rows of a table were not as the peer has them; of these, `repaired` are by now. */
  | {
      readonly type: 'rows_differ';
      readonly peer: string;
      readonly table: string;
      readonly rows: number;
      readonly differ: number;
      readonly repaired: number;
    }
  /** The peer decides conflicts otherwise than this node; an empty list says that it no longer does. */
  | { readonly type: 'rules_differ'; readonly peer: string; readonly differences: readonly RulesDiffer[] }
  /** The peer keeps out other rows of shared tables than this node; an empty list says that it no longer does. */
  | {
      readonly type: 'constraints_differ';
      readonly peer: string;
      readonly differences: readonly ConstraintDifference[];
    }
  /** The peer draws numbers for serial keys that this node draws, too; `clash` null says that it no longer does. */
  | {
      readonly type: 'sequences_clash';
      readonly peer: string;
      readonly clash: SlotClash | null;
      readonly ours: Slot | null;
      readonly theirs: Slot | null;
    }
  /** Rows of a table are not exchanged with the peer any more, in that direction; told again when the reason is another. */
  | ({ readonly type: 'table_paused'; readonly peer: string } & Pick<
      PausedTable,
      'table' | 'direction' | 'reason' | 'remedy'
    >)
  /** They are again, from where they were left off. */
  | ({ readonly type: 'table_resumed'; readonly peer: string } & Pick<PausedTable, 'table' | 'direction'>)
  /** This node decides conflicts by other rules from now on (libs/core: formatRules). */
  | { readonly type: 'rules_changed'; readonly rules: string }
  /** A piece of a first copy has come, with so many rows; `table` is where the next one begins, null at the copy's end. */
  | ({
      readonly type: 'copy_progress';
      readonly peer: string;
      readonly table: string | null;
      readonly rows: number;
    } & CopyState)
  /** A row has several concurrent versions now, or more than before; what stands was decided, or waits for somebody. */
  | ({ readonly type: 'conflict'; readonly peer: string } & ConflictNote)
  /** Conflicts of a window beyond those that were told one by one. */
  | {
      readonly type: 'more_conflicts';
      readonly peer: string;
      readonly count: number;
      readonly tables: readonly string[];
    }
  /** Somebody has decided a conflict on this node. */
  | ({ readonly type: 'conflict_ended'; readonly ended_by: NamedVersion } & Pick<ConflictNote, 'id' | 'table' | 'key'>)
  /** A row does not stand in its table: it waits for another, or the table refuses it. */
  | ({ readonly type: 'parked' } & ParkedNote)
  /** A row is no longer parked: it stands, or was deleted. Of why it was, `reason`, `constraint` and `message` tell. */
  | ({ readonly type: 'unparked'; readonly stands: boolean } & ParkedNote)
  /** Rows of one transaction beyond those that were told one by one. */
  | {
      readonly type: 'more_parked' | 'more_unparked';
      readonly count: number;
      readonly tables: readonly string[];
    }
  /** A shared table has changed here, by a local write or by a peer's. */
  | { readonly type: 'news' };

/** `at` is ISO 8601; `node_id` is the node that tells it. */
export type MeshEvent = MeshNews & { readonly at: string; readonly node_id: string };

export type MeshListener = (event: MeshEvent) => void;

/** Where the mesh tells what happens. A listener that throws is reported, and does not disturb the others or the sync. */
export class MeshEvents {
  readonly #listeners = new Set<MeshListener>();

  constructor(
    private readonly nodeId: string,
    private readonly clock: () => number,
    private readonly warn: (message: string) => void = (message) => process.emitWarning(message),
  ) {}

  /** Returns what ends the listening. */
  on(listener: MeshListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(news: MeshNews): void {
    const event: MeshEvent = { ...news, at: new Date(this.clock()).toISOString(), node_id: this.nodeId };
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        this.warn(`A listener to mesh events failed on "${news.type}": ${String(error)}`);
      }
    }
  }
}
