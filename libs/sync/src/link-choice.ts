import { ringNeighbours } from '@pgmesh/core';
import type { KnownPeer } from './peers';

/**
 * Why a peer is linked to. `all`: so few are known that all are. `by_hand`: somebody named it. `neighbour`: one of the neighbours that
 * keep the mesh connected (libs/core: ringNeighbours). `replacement`: in the place of neighbours that do not answer. `introduction`:
 * nobody knows yet which node it is.
 */
export type LinkReason = 'all' | 'by_hand' | 'neighbour' | 'replacement' | 'introduction';

/**
 * Which of the known peers to link to. A peer that does not answer is replaced by the next one, and tried at a low rate: as a
 * neighbour by its link, else again after a rest. It counts as there again as soon as it is heard of.
 */
export class LinkChoice {
  /** When a peer was found not to answer, by its id. */
  readonly #failed = new Map<string, number>();

  /**
   * @param self our node id
   * @param bound peers to link to at most; Infinity for all
   * @param rest milliseconds after which a peer that did not answer counts as one that may
   */
  constructor(
    private readonly self: string,
    private readonly bound: number,
    private readonly rest: number,
    private readonly clock: () => number,
  ) {}

  /** Nothing answers there. */
  failed({ id }: KnownPeer): void {
    this.#failed.set(id, this.clock());
  }

  /** It was heard of. Returns whether it had been given up. */
  heard({ id }: KnownPeer): boolean {
    return this.#failed.delete(id);
  }

  of(peers: readonly KnownPeer[]): Map<KnownPeer, LinkReason> {
    const chosen = new Map<KnownPeer, LinkReason>();
    const choose = (ids: ReadonlySet<string>, reason: LinkReason): void => {
      for (const peer of peers) if (ids.has(peer.id) && !chosen.has(peer)) chosen.set(peer, reason);
    };
    const all = peers.map(({ id }) => id);
    if (all.length <= this.bound) {
      choose(new Set(all), 'all');
      return chosen;
    }
    choose(new Set(peers.filter(({ byHand = true }) => byHand).map(({ id }) => id)), 'by_hand');
    choose(ringNeighbours(this.self, all, this.bound), 'neighbour');
    const there = peers.filter((peer) => !this.#isGivenUp(peer));
    choose(
      ringNeighbours(
        this.self,
        there.map(({ id }) => id),
        this.bound,
      ),
      'replacement',
    );
    const stranger = there.find(({ nodeId }) => nodeId === null);
    if (stranger) choose(new Set([stranger.id]), 'introduction');
    return chosen;
  }

  #isGivenUp({ id }: KnownPeer): boolean {
    const since = this.#failed.get(id);
    if (since === undefined) return false;
    if (this.clock() - since < this.rest) return true;
    this.#failed.delete(id);
    return false;
  }
}
