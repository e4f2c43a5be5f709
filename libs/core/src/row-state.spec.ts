import * as fc from 'fast-check';
import { highestStamp, letGo, mergeStates, pastOfWrite, type RowState, sameState } from './row-state';
import { compareVersions, covers, type RowVersion, vectorOf } from './row-version';
import { excessiveDrift, nextStamp, stampToIso } from './stamp';
import { lastWriteWins } from './strategy';
import { emptyVector, joinVectors, vectorCovers } from './version-vector';

/** Names that trip an object used as a map, and a usual one. */
const origins = ['__proto__', 'constructor', 'node1~3f9ac81b22d0', 'toString'];

/** One version with the versions that its writer had really seen, however many hands they went through. */
interface Written {
  readonly version: RowVersion;
  readonly seen: ReadonlySet<Written>;
}

/** A node: the state that it keeps, and, as the oracle, every version that reached it in any form. */
interface Node {
  state: RowState;
  seen: Set<Written>;
}

function write(node: Node, origin: string, now: number, deleted: boolean): void {
  const stamp = nextStamp(now, highestStamp(node.state));
  const past = pastOfWrite(node.state, origin);
  const version: RowVersion = {
    stamp,
    origin,
    priority: 0,
    past,
    deleted,
    image: deleted ? null : { id: '1', at: `${stamp}` },
  };
  for (const earlier of node.seen) expect(stamp).toBeGreaterThan(earlier.version.stamp);
  const written: Written = { version, seen: new Set(node.seen) };
  node.state = mergeStates(node.state, [version]);
  expect(node.state).toEqual([version]);
  node.seen = new Set([...node.seen, written]);
}

/** What is left when all versions that another one's writer had seen are taken out. */
function newest(seen: ReadonlySet<Written>): RowVersion[] {
  return [...seen]
    .filter((one) => ![...seen].some((other) => other.seen.has(one)))
    .map(({ version }) => version)
    .sort((a, b) => a.stamp - b.stamp || (a.origin < b.origin ? -1 : 1));
}

const at = fc.nat(origins.length - 1);
const event = fc.oneof(
  fc.record({
    do: fc.constant('write' as const),
    node: at,
    now: fc.integer({ min: 1, max: 12 }),
    deleted: fc.boolean(),
  }),
  fc.record({ do: fc.constant('send' as const), from: at, to: at }),
  fc.record({ do: fc.constant('arrive' as const), nth: fc.nat(30), to: at }),
);
const histories = fc.array(event, { maxLength: 40, size: 'max' });

/** Plays a history and gives the nodes and every state that was ever sent. Clocks stand still, jump and step back. */
function play(history: (typeof event extends fc.Arbitrary<infer E> ? E : never)[]): { nodes: Node[]; sent: Node[] } {
  const nodes = origins.map((): Node => ({ state: [], seen: new Set() }));
  const sent: Node[] = [];
  const receive = (node: Node, message: Node) => {
    node.state = mergeStates(node.state, message.state);
    node.seen = new Set([...node.seen, ...message.seen]);
    expect(node.state).toEqual(newest(node.seen));
  };
  for (const step of history) {
    if (step.do === 'write') write(nodes[step.node]!, origins[step.node]!, step.now, step.deleted);
    if (step.do === 'arrive' && sent.length > 0) receive(nodes[step.to]!, sent[step.nth % sent.length]!);
    if (step.do === 'send') {
      sent.push({ ...nodes[step.from]! });
      receive(nodes[step.to]!, nodes[step.from]!);
    }
  }
  return { nodes, sent };
}

describe('The state of a row', () => {
  it('is at each moment the newest of all versions that came by, and the same row stands on all nodes in the end', () => {
    fc.assert(
      fc.property(histories, fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }), (history, order) => {
        const { nodes } = play(history);
        const all = new Set(nodes.flatMap((node) => [...node.seen]));
        const ends = nodes.map((node) => order.reduce((state, i) => mergeStates(state, nodes[i]!.state), node.state));
        const expected = newest(all);
        for (const state of ends) {
          expect(state).toEqual(expected);
          if (expected.length > 0) expect(lastWriteWins(state)).toBe(state.at(-1));
          if (expected.length > 0) expect(lastWriteWins([...state].reverse())).toEqual(expected.at(-1));
        }
      }),
      { numRuns: 150 },
    );
  });

  it('merges the same in any order, any grouping and any number of times', () => {
    fc.assert(
      fc.property(histories, fc.nat(), fc.nat(), fc.nat(), (history, i, j, k) => {
        const { nodes, sent } = play(history);
        const states = [...nodes, ...sent].map(({ state }) => state);
        const [a, b, c] = [i, j, k].map((n) => states[n % states.length]!) as [RowState, RowState, RowState];
        expect(mergeStates(a, b)).toEqual(mergeStates(b, a));
        expect(mergeStates(mergeStates(a, b), c)).toEqual(mergeStates(a, mergeStates(b, c)));
        expect(mergeStates(a, a)).toEqual(a);
        expect(mergeStates(mergeStates(a, b), b)).toEqual(mergeStates(a, b));
        expect(sameState(mergeStates(a, b), [...mergeStates(b, a)].reverse())).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it('knows of any two versions which writer had seen the other', () => {
    fc.assert(
      fc.property(histories, (history) => {
        const all = [...new Set(play(history).nodes.flatMap((node) => [...node.seen]))];
        for (const a of all) {
          for (const b of all) expect(covers(a.version, b.version)).toBe(a === b || a.seen.has(b));
        }
      }),
    );
  });

  it('lets go of what has lost to the last write, and merges the same with who has and who has not', () => {
    fc.assert(
      fc.property(histories, fc.nat(), fc.nat(), (history, i, j) => {
        const { nodes, sent } = play(history);
        const states = [...nodes, ...sent].map(({ state }) => state);
        const [a, b] = [i, j].map((n) => states[n % states.length]!) as [RowState, RowState];
        const less = letGo(a);
        if (a.length > 0)
          expect(lastWriteWins(less)).toMatchObject({ stamp: a.at(-1)!.stamp, origin: a.at(-1)!.origin });
        for (const version of a) expect(less.some((kept) => covers(kept, version))).toBe(true);
        expect(letGo(less)).toEqual(less);
        expect(mergeStates(a, less)).toEqual(less);
        expect(mergeStates(less, a)).toEqual(less);
        // A write made over all of it is as good.
        const { stamp, origin } = { stamp: (highestStamp(a) ?? 0) + 1, origin: 'late' };
        const over = (state: RowState): RowVersion => ({
          ...{ stamp, origin, priority: 0, deleted: false, image: {} },
          past: pastOfWrite(state, origin),
        });
        expect(over(less)).toEqual(over(a));
        // What one has that the other has not heard of stays, whichever of them has let go.
        const merged = mergeStates(less, b);
        for (const version of b) expect(merged.some((kept) => covers(kept, version))).toBe(true);
        expect(mergeStates(b, less)).toEqual(merged);
      }),
      { numRuns: 150 },
    );
  });

  it('keeps versions of one stamp beside each other: none of them was last', () => {
    const version = (origin: string, stamp: number): RowVersion => {
      return { stamp, origin, priority: 0, past: {}, deleted: false, image: {} };
    };
    expect(letGo([version('a', 5), version('b', 5)])).toHaveLength(2);
    expect(letGo([version('a', 5), version('b', 6)])).toEqual([{ ...version('b', 6), past: { a: 5 } }]);
  });

  it('is replaced as a whole by a write that saw it', () => {
    const version = (origin: string, stamp: number): RowVersion => {
      return { stamp, origin, priority: 0, past: {}, deleted: false, image: {} };
    };
    const siblings = mergeStates([version('a', 5)], [version('b', 7)]);
    expect(siblings).toHaveLength(2);
    const over: RowVersion = { ...version('c', 8), past: pastOfWrite(siblings, 'c') };
    expect(over.past).toEqual({ a: 5, b: 7 });
    expect(mergeStates(siblings, [over])).toEqual([over]);
  });

  it('leaves the writer itself out of a past, so that a row of one writer never grows', () => {
    const node: Node = { state: [], seen: new Set() };
    for (let now = 5; now > 0; now--) write(node, 'a', now, false);
    expect(node.state).toMatchObject([{ stamp: 9, past: {} }]);
    expect(Object.keys(node.state[0]!.past)).toEqual([]);
  });

  it('has always a row that stands', () => {
    expect(() => lastWriteWins([])).toThrow(RangeError);
  });
});

describe('Version vectors', () => {
  const vectors = fc.dictionary(fc.constantFrom(...origins, 'hasOwnProperty', 'a'), fc.nat(9), {
    noNullPrototype: false,
  });

  it('join to the smallest that covers both, whatever the origins are called', () => {
    fc.assert(
      fc.property(vectors, vectors, (a, b) => {
        const joined = joinVectors(a, b);
        for (const origin of [...origins, 'hasOwnProperty', 'a', 'valueOf']) {
          for (let stamp = 0; stamp < 10; stamp++) {
            const either = vectorCovers(a, origin, stamp) || vectorCovers(b, origin, stamp);
            expect(vectorCovers(joined, origin, stamp)).toBe(either);
          }
        }
      }),
    );
  });

  it('cover nothing of an origin that they do not name, be it called like a property of every object', () => {
    for (const origin of origins) {
      expect(vectorCovers({}, origin, 0)).toBe(false);
      expect(vectorCovers(emptyVector, origin, 0)).toBe(false);
      const version: RowVersion = { stamp: 3, origin, priority: 0, past: {}, deleted: true, image: null };
      expect(vectorCovers(vectorOf(version), origin, 3)).toBe(true);
      expect(Object.keys(vectorOf(version))).toEqual([origin]);
      expect(vectorCovers(pastOfWrite([version], 'other'), origin, 3)).toBe(true);
      expect(Object.keys(pastOfWrite([version], origin))).toEqual([]);
    }
  });
});

describe('Stamps', () => {
  it('never fall, whatever the clock does', () => {
    fc.assert(
      fc.property(fc.array(fc.nat()), (clock) => {
        let previous: number | null = null;
        for (const now of clock) {
          const stamp: number = nextStamp(now, previous);
          expect(stamp).toBeGreaterThanOrEqual(now);
          if (previous !== null) expect(stamp).toBeGreaterThan(previous);
          previous = stamp;
        }
      }),
    );
  });

  it('too far ahead are told with their figures, others are not', () => {
    expect(excessiveDrift(161, 100, 60)).toEqual({ stamp: 161, ahead: 61, allowed: 60 });
    expect(excessiveDrift(160, 100, 60)).toBeNull();
    expect(excessiveDrift(1, 100, 60)).toBeNull();
  });

  it('read as times up to the largest', () => {
    expect(stampToIso(1_762_000_000_123_456)).toBe('2025-11-01T12:26:40.123Z');
    expect(stampToIso(Number.MAX_SAFE_INTEGER)).toBe('2255-06-05T23:47:34.740Z');
  });

  it('order versions the same from either side, by stamp and then by origin', () => {
    const named = (origin: string, stamp: number): RowVersion => {
      return { stamp, origin, priority: 0, past: {}, deleted: false, image: null };
    };
    expect(compareVersions(named('b', 1), named('a', 2))).toBeLessThan(0);
    expect(compareVersions(named('b', 2), named('a', 2))).toBeGreaterThan(0);
    expect(compareVersions(named('a', 2), named('a', 2))).toBe(0);
  });
});
