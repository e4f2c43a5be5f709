import { chooseSlot, type ToldOfSlots } from './choose-slot';

const peer = (node_id: string | null, slot: number | null, of = 3): ToldOfSlots['peers'][number] => ({
  node_id,
  url: 'http://peer:8001',
  sequences: slot === null ? null : { slot, of },
});
const told = (...peers: ToldOfSlots['peers']): ToldOfSlots => ({ node_id: 'a', sequences: { slot: 1, of: 3 }, peers });
const fresh = { node_id: 'c', slot: null };

describe('The slot that a node takes', () => {
  it('is the lowest that neither the node that is asked nor its peers have', () => {
    expect(chooseSlot(told(peer('b', 2)), fresh, 3)).toEqual({ chosen: { slot: 3, of: 3 }, unmet: [] });
    expect(chooseSlot(told(peer('b', 3)), { node_id: null, slot: null }, 3).chosen).toEqual({ slot: 2, of: 3 });
  });

  it('is its own, unless another has it', () => {
    const own = { slot: 3, of: 3 };
    expect(chooseSlot(told(peer('c', 3)), { node_id: 'c', slot: own }, 3).chosen).toEqual(own);
    expect(chooseSlot(told(peer('b', 3)), { node_id: 'c', slot: own }, 3).chosen).toEqual({ slot: 2, of: 3 });
    expect(chooseSlot(told(), { node_id: 'a', slot: { slot: 1, of: 3 } }, 3).chosen).toEqual({ slot: 1, of: 3 });
  });

  it('names the peers whose slot nobody knows', () => {
    expect(chooseSlot(told(peer('b', null), peer(null, null)), fresh, 3).unmet).toEqual(['b', 'http://peer:8001']);
  });

  it('is none where all are taken, or others count in other steps', () => {
    expect(() => chooseSlot(told(peer('b', 2), peer('d', 3)), fresh, 3)).toThrow(/All 3 slots are taken/);
    expect(() => chooseSlot(told(peer('b', 2, 4)), fresh, 3)).toThrow(/b counts in steps of 4, not 3/);
    expect(() => chooseSlot(told(), fresh, 0)).toThrow(/whole number from 1/);
  });
});
