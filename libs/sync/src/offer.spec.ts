import { beginning, type Knowledge, type Known, type Position } from '@pgmesh/core';
import fc from 'fast-check';
import { expected, leftOut, pushRequest, type Reader } from './offer';

const tables = ['t1', 't2'];
const nodes = fc.constantFrom('a', 'b', 'c', 'd');
const known: fc.Arbitrary<Known> = fc.record({
  tables: fc.constantFrom(['t1', 't2'], ['t1']),
  cursor: fc.record({
    epoch: fc.constantFrom('e1', 'e2'),
    snapshot: fc.integer({ min: 0, max: 5 }).map((xmax) => ({ xmax: BigInt(xmax), xip: [] })),
  }),
});
const knowledge: fc.Arbitrary<Knowledge> = fc.dictionary(nodes, known);
const reader: fc.Arbitrary<Reader> = fc.record({
  nodeId: nodes,
  knowledge,
  seen: fc.constant({}),
  links: fc.uniqueArray(nodes),
  own: fc.option(fc.constant('x~e1')),
});
const request = { kind: 'window', tables, from: beginning } as const;

describe('what a reader is not sent', () => {
  it('is only what it has at least as far as we have, in all the tables', () => {
    fc.assert(
      fc.property(knowledge, reader, (ours, to) => {
        for (const node of leftOut(ours, to, request)) {
          if (node === to.nodeId) expect(to.own).not.toBeNull();
          else {
            expect(to.knowledge[node]!.cursor.epoch).toBe(ours[node]!.cursor.epoch);
            expect(to.knowledge[node]!.cursor.snapshot.xmax >= ours[node]!.cursor.snapshot.xmax).toBe(true);
            expect(ours[node]!.tables).toEqual(tables);
          }
        }
      }),
    );
  });

  it('grows with what the reader knows, and never holds what came after', () => {
    fc.assert(
      fc.property(knowledge, reader, (ours, to) => {
        const all = leftOut(ours, { ...to, knowledge: ours }, request);
        expect(leftOut(ours, to, request).every((node) => all.includes(node))).toBe(true);
      }),
    );
  });
});

describe('what others are expected to bring', () => {
  it('is what the reader is linked to itself, and never anything at the end of a line', () => {
    const to: Reader = { nodeId: 'a', knowledge: {}, seen: {}, links: ['us', 'b'], own: null };
    expect(expected(to, 'us', new Set(), 0n)).toEqual({ nodes: ['b'], origins: [], from: 0n });
    expect(expected({ ...to, links: ['us'] }, 'us', new Set(), 0n)).toBeNull();
  });

  it('is what has reached it sooner another way', () => {
    const to: Reader = { nodeId: 'a', knowledge: {}, seen: {}, links: [], own: null };
    expect(expected(to, 'us', new Set(['d~e1']), 7n)).toEqual({ nodes: [], origins: ['d~e1'], from: 7n });
  });
});

describe('pushRequest', () => {
  const position: Position = {
    epoch: 'e1',
    tables: ['t1'],
    snapshot: beginning,
    complete: beginning,
    reached: beginning,
    copy: null,
  };

  it('leaves a first copy to the reader, unless it may be pushed', () => {
    expect(pushRequest(null, 'e1', tables, null, false)).toBeNull();
    expect(pushRequest(null, 'e1', tables, null, true)).toMatchObject({ kind: 'copy', tables });
    expect(pushRequest(position, 'e1', tables, null, false)).toMatchObject({ kind: 'window', tables: ['t1'] });
  });

  it('alternates, so that a long copy does not hold up the stream', () => {
    expect(pushRequest(position, 'e1', tables, 'copy', true)).toMatchObject({ kind: 'window' });
    expect(pushRequest(position, 'e1', tables, 'window', true)).toMatchObject({ kind: 'copy', tables: ['t2'] });
  });

  it('begins anew with a position of another incarnation', () => {
    expect(pushRequest(position, 'e2', tables, null, true)).toMatchObject({ kind: 'copy', at: null });
    expect(pushRequest(position, 'e1', [], null, true)).toBeNull();
  });
});
