import * as fc from 'fast-check';
import type { Knowledge } from './knowledge';
import {
  digestOf,
  evict,
  joinMembers,
  lackedOf,
  type Marks,
  markOf,
  type Member,
  passesMore,
  takeBack,
} from './members';
import type { Snapshot } from './snapshot';

const at = (xmax: number): Snapshot => ({ xmax: BigInt(xmax), xip: [] });
const knownTo = (xmax: number, tables = ['s'], epoch = 'e1'): Knowledge => ({
  x: { cursor: { epoch, snapshot: at(xmax) }, tables },
});

const small = fc.nat(3);
const claims = fc.record({
  number: fc.integer({ min: 1, max: 3 }),
  snapshot: small.map(at),
  known: small.map((n) => knownTo(n)),
  keeps: fc.constantFrom(null, [], ['s']),
});
const members: fc.Arbitrary<Member> = fc.record({
  nodeId: fc.constant('m'),
  epoch: fc.constantFrom('e1', 'e2'),
  tables: fc.subarray(['s', 't', 'u']),
  firstSeen: small,
  lastSeen: small,
  claim: fc.option(claims),
  evicted: fc.option(fc.record({ at: small, by: fc.constantFrom('a', 'b') })),
  term: small,
});

describe('What is known of a member', () => {
  it('joins to the same in any order, and as often as it comes', () => {
    fc.assert(
      fc.property(members, members, members, (a, b, c) => {
        expect(joinMembers(a, b)).toEqual(joinMembers(b, a));
        expect(joinMembers(a, joinMembers(b, c))).toEqual(joinMembers(joinMembers(a, b), c));
        expect(joinMembers(a, a)).toEqual(a);
        expect(joinMembers(joinMembers(a, b), b)).toEqual(joinMembers(a, b));
      }),
      { numRuns: 1_000 },
    );
  });

  it('is of one incarnation: nothing that an earlier one claimed is believed of a later one', () => {
    fc.assert(
      fc.property(members, members, (a, b) => {
        const [before, after] = [
          { ...a, epoch: 'e1' },
          { ...b, epoch: 'e2' },
        ];
        const { claim, tables, evicted, term } = after;
        expect(joinMembers(before, after)).toMatchObject({ epoch: 'e2', claim, tables, evicted, term });
      }),
    );
  });

  it('is that it was evicted, until it is heard of again, whatever order that is told in', () => {
    fc.assert(
      fc.property(members, (member) => {
        const gone = evict(takeBack(member), 5, 'a');
        const back = takeBack(gone);
        expect(joinMembers(member, gone).evicted).toEqual({ at: 5, by: 'a' });
        expect(joinMembers(joinMembers(back, gone), member).evicted).toBeNull();
        expect(evict(gone, 9, 'b')).toBe(gone);
        expect(takeBack(back)).toBe(back);
      }),
    );
  });
});

describe('Two lists of members', () => {
  const lists = fc.array(fc.tuple(fc.constantFrom('m', 'n', 'constructor'), members), { maxLength: 4 }).map((all) => {
    const list = new Map<string, Member>();
    for (const [nodeId, member] of all) take(list, { ...member, nodeId });
    return list;
  });

  function take(list: Map<string, Member>, member: Member): void {
    const before = list.get(member.nodeId);
    list.set(member.nodeId, before ? joinMembers(before, member) : member);
  }

  const marksOf = (list: Map<string, Member>): Marks =>
    Object.fromEntries([...list.values()].map((member) => [member.nodeId, markOf(member)]));

  /** What travels one way after a greeting. */
  function tell(from: Map<string, Member>, to: Map<string, Member>): number {
    const lacked = lackedOf([...from.values()], marksOf(to));
    for (const { nodeId, whole } of lacked) {
      const member = from.get(nodeId)!;
      take(to, whole ? member : { ...member, claim: null });
    }
    return lacked.length;
  }

  const digest = (list: Map<string, Member>): string => digestOf([...list.values()]);

  it('are the same after two greetings, and then have nothing more to tell', () => {
    fc.assert(
      fc.property(lists, lists, (a, b) => {
        // Of one claim number there is one claim; a database that was set back unnoticed is another matter.
        for (const [nodeId, { epoch, claim, tables }] of a) {
          const other = b.get(nodeId);
          if (other?.epoch === epoch && other.claim?.number === claim?.number)
            b.set(nodeId, { ...other, claim, tables: claim ? tables : other.tables });
        }
        for (let i = 0; i < 2; i++) {
          tell(b, a);
          tell(a, b);
        }
        expect(digest(a)).toBe(digest(b));
        expect(new Set([...a.keys()])).toEqual(new Set([...b.keys()]));
        for (const [nodeId, member] of a) expect(b.get(nodeId)).toEqual(member);
        expect(tell(a, b) + tell(b, a)).toBe(0);
      }),
      { numRuns: 500 },
    );
  });

  it('are found to differ by a text of a few bytes, and what is told besides a claim does not repeat it', () => {
    const claim = { number: 2, snapshot: at(9), known: knownTo(8), keeps: null };
    const one: Member = {
      nodeId: 'm',
      epoch: 'e1',
      tables: ['s'],
      firstSeen: 1,
      lastSeen: 2,
      claim,
      evicted: null,
      term: 0,
    };
    expect(digestOf([one])).toHaveLength(16);
    expect(digestOf([evict(one, 3, 'a')])).not.toBe(digestOf([one]));
    expect(lackedOf([{ ...one, lastSeen: 3 }], { m: markOf(one) })).toEqual([{ nodeId: 'm', whole: false }]);
    expect(lackedOf([one], { m: markOf({ ...one, claim: { ...claim, number: 1 } }) })).toEqual([
      { nodeId: 'm', whole: true },
    ]);
    expect(lackedOf([one], {})).toEqual([{ nodeId: 'm', whole: true }]);
  });
});

describe('A claim is worth making', () => {
  const claimed = (xmax: number, epoch = 'e1'): Member[] => [
    {
      nodeId: 'x',
      epoch,
      tables: ['s'],
      firstSeen: 0,
      lastSeen: 0,
      claim: { number: 1, snapshot: at(xmax), known: {}, keeps: null },
      evicted: null,
      term: 0,
    },
  ];

  it('when it passes what another claimed at, and not because snapshots go on', () => {
    expect(passesMore(knownTo(4), knownTo(9), claimed(5))).toBe(true);
    expect(passesMore(knownTo(5), knownTo(9), claimed(5))).toBe(false);
    expect(passesMore(knownTo(4), knownTo(9), claimed(10))).toBe(false);
    expect(passesMore({}, knownTo(9), claimed(5))).toBe(true);
    expect(passesMore(knownTo(9), knownTo(9, ['s', 't']), claimed(5))).toBe(true);
    expect(passesMore(knownTo(4), knownTo(9), claimed(5, 'e2'))).toBe(false);
  });

  it('no longer, once all have said all that others wait for', () => {
    // Snapshots go on by themselves, claims do not: one round after the last write nobody has anything to claim.
    const nodes = ['a', 'b', 'c'];
    const now = new Map(nodes.map((node) => [node, 10]));
    const made = new Map<string, { snapshot: number; known: Record<string, number>; number: number }>();
    const knowledge = (known: Record<string, number>): Knowledge =>
      Object.fromEntries(Object.entries(known).map(([node, xmax]) => [node, knownTo(xmax).x!]));
    const wrote = new Set(nodes);
    let claimsMade = 0;
    for (let round = 0; round < 20; round++) {
      for (const node of nodes) {
        now.set(node, now.get(node)! + 3);
        const known = Object.fromEntries(
          nodes.filter((other) => other !== node).map((other) => [other, now.get(other)! - 1]),
        );
        const others = [...made]
          .filter(([other]) => other !== node)
          .map(([nodeId, { snapshot }]) => ({ ...claimed(snapshot)[0]!, nodeId }));
        const last = made.get(node);
        if (!wrote.delete(node) && last && !passesMore(knowledge(last.known), knowledge(known), others)) continue;
        const snapshot = last ? last.snapshot : now.get(node)!;
        made.set(node, { snapshot, known, number: (last?.number ?? 0) + 1 });
        claimsMade++;
      }
    }
    expect(claimsMade).toBeLessThanOrEqual(9);
    for (const [node, { known }] of made) {
      for (const [other, { snapshot }] of made)
        if (other !== node) expect(known[other]).toBeGreaterThanOrEqual(snapshot);
    }
  });
});
