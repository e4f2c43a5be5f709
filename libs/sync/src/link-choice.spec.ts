import { LinkChoice } from './link-choice';
import type { KnownPeer } from './peers';

const peer = (id: string, more: Partial<KnownPeer> = {}): KnownPeer => ({
  id,
  nodeId: id,
  url: `http://${id}`,
  urls: [`http://${id}`],
  byHand: false,
  ...more,
});
const peers = Array.from({ length: 20 }, (_, i) => peer(`n${i}`));

describe('which peers are linked to', () => {
  let now = 0;
  const choose = (bound: number): LinkChoice => new LinkChoice('self', bound, 1_000, () => now);
  beforeEach(() => {
    now = 0;
  });

  it('are all while these are few, or without a bound', () => {
    expect(new Set(choose(4).of(peers.slice(0, 4)).values())).toEqual(new Set(['all']));
    expect(choose(Infinity).of(peers).size).toBe(20);
  });

  it('are no more than the bound, and those known by hand', () => {
    const choice = choose(4);
    expect([...choice.of(peers).values()]).toEqual(['neighbour', 'neighbour', 'neighbour', 'neighbour']);
    const named = peers.map((one, i) => (i < 6 ? { ...one, byHand: true } : one));
    const chosen = choice.of(named);
    expect([...chosen.values()].filter((reason) => reason === 'by_hand')).toHaveLength(6);
    expect(chosen.size).toBeLessThanOrEqual(10);
  });

  it('are others in the place of one that does not answer, which is tried on; and it alone when it is back', () => {
    const choice = choose(4);
    const before = choice.of(peers);
    const [gone] = before.keys();
    choice.failed(gone!);
    const during = choice.of(peers);
    expect(during.get(gone!)).toBe('neighbour');
    expect([...during].filter(([, reason]) => reason === 'replacement')).toHaveLength(1);
    expect(choice.heard(gone!)).toBe(true);
    expect(choice.of(peers)).toEqual(before);
    expect(choice.heard(gone!)).toBe(false);
  });

  it('are tried again after a rest, when they stood in for others and did not answer either', () => {
    const choice = choose(2);
    const [gone] = choice.of(peers).keys();
    choice.failed(gone!);
    const [standIn] = [...choice.of(peers)].find(([, reason]) => reason === 'replacement')!;
    choice.failed(standIn);
    expect(choice.of(peers).has(standIn)).toBe(false);
    now = 1_500;
    choice.failed(gone!);
    expect(choice.of(peers).get(standIn)).toBe('replacement');
  });

  it('are those of which nobody knows which node they are, one after another', () => {
    const choice = choose(2);
    const strangers = ['http://x', 'http://y', 'http://z'].map((id) => peer(id, { nodeId: null }));
    const reasons = (): string[] => [...choice.of([...peers, ...strangers]).values()];
    expect(reasons().filter((reason) => reason === 'introduction').length).toBeLessThanOrEqual(1);
    for (const stranger of strangers) choice.failed(stranger);
    expect(reasons()).not.toContain('introduction');
  });
});
