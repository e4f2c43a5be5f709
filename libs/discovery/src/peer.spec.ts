import fc from 'fast-check';
import { changesBetween, type Peer, peersOf, type Self, type Sighting } from './peer';

const self: Self = { nodeId: 'me', urls: ['http://me'] };
const url = fc.constantFrom('http://me', 'http://a', 'http://b', 'http://c', 'http://d');
const node = fc.option(fc.constantFrom('me', 'n1', 'n2', 'n3'));
const sighting: fc.Arbitrary<Sighting> = fc.record({
  url,
  claims: fc
    .uniqueArray(fc.tuple(fc.constantFrom('manual', 'mdns', 'dns'), node), {
      minLength: 1,
      selector: ([source]) => source,
    })
    .map((claims) => new Map(claims)),
  answeredBy: node,
});
const sightings = fc.uniqueArray(sighting, { selector: (one) => one.url });

describe('peers', () => {
  it('are the same in whatever order their addresses were seen', () => {
    fc.assert(
      fc.property(
        sightings.chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))),
        ([all, shuffled]) => expect(peersOf(shuffled, self)).toEqual(peersOf(all, self)),
      ),
    );
  });

  it('have each URL once, each id once, and never ourselves', () => {
    fc.assert(
      fc.property(sightings, (all) => {
        const peers = peersOf(all, self);
        const urls = peers.flatMap((peer) => peer.urls);
        expect(new Set(urls).size).toBe(urls.length);
        expect(new Set(peers.map((peer) => peer.id)).size).toBe(peers.length);
        expect(urls).not.toContain('http://me');
        expect(peers.map((peer) => peer.nodeId)).not.toContain('me');
      }),
    );
  });

  it('are kept right by a listener who hears only the changes', () => {
    fc.assert(
      fc.property(sightings, sightings, (first, then) => {
        const before = peersOf(first, self);
        const after = peersOf(then, self);
        const held = new Set<Peer>(before);
        for (const change of changesBetween(before, after)) {
          if (change.kind === 'removed') expect(held.delete(change.peer)).toBe(true);
          if (change.kind === 'changed') expect(held.delete(change.before)).toBe(true);
          if (change.kind !== 'removed') held.add(change.peer);
        }
        expect([...held].sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual(after);
      }),
    );
  });

  it('change nothing when nothing is new', () => {
    fc.assert(
      fc.property(sightings, (all) => expect(changesBetween(peersOf(all, self), peersOf(all, self))).toEqual([])),
    );
  });

  it('are dialled where they answered before where a stranger says they are', () => {
    const known: Sighting = { url: 'http://z', claims: new Map([['manual', null]]), answeredBy: 'n1' };
    const claimed: Sighting = { url: 'http://a', claims: new Map([['mdns', 'n1']]), answeredBy: null };
    expect(peersOf([claimed, known], self)).toMatchObject([
      { id: 'n1', url: 'http://z', urls: ['http://z', 'http://a'] },
    ]);
  });
});
