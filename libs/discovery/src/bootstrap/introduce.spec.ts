import { seededRandom } from '@pgmesh/core';
import fc from 'fast-check';
import { type Candidate, introduce } from './introduce';

const members = fc.uniqueArray(
  fc.record({ nodeId: fc.stringMatching(/^[a-z][a-z0-9]{0,5}$/), dialled: fc.boolean() }),
  { selector: ({ nodeId }) => nodeId, minLength: 1, maxLength: 60 },
);
const candidates = (all: { nodeId: string; dialled: boolean }[]): Candidate[] =>
  all.map(({ nodeId, dialled }) => ({ nodeId, urls: dialled ? [`http://${nodeId}`] : [] }));

/** How many pieces the graph falls into, taking each introduction as an edge: one side that dials is enough. */
function pieces(nodes: readonly string[], edges: readonly (readonly [string, string])[]): number {
  const leader = new Map(nodes.map((node) => [node, node]));
  const find = (node: string): string => (leader.get(node) === node ? node : find(leader.get(node)!));
  for (const [a, b] of edges) leader.set(find(a), find(b));
  return new Set(nodes.map(find)).size;
}

describe('introductions', () => {
  it('are so many others that can be dialled, each once, or all where there are fewer', () => {
    fc.assert(
      fc.property(members, fc.integer({ min: 1, max: 12 }), fc.integer(), (all, count, seed) => {
        const room = candidates(all);
        for (const { nodeId } of room) {
          const told = introduce(room, nodeId, count, seededRandom(seed));
          const others = room.filter((one) => one.nodeId !== nodeId && one.urls.length > 0);
          expect(told).toHaveLength(Math.min(count, others.length));
          expect(new Set(told).size).toBe(told.length);
          for (const one of told) expect(others).toContain(one);
        }
      }),
    );
  });

  it('tie a room together once every member has asked, even when each is told of one other only', () => {
    fc.assert(
      fc.property(members, fc.integer({ min: 1, max: 3 }), fc.integer(), (all, count, seed) => {
        const room = candidates(all);
        const random = seededRandom(seed);
        const edges = room.flatMap(({ nodeId }) =>
          introduce(room, nodeId, count, random).map((told) => [nodeId, told.nodeId] as const),
        );
        const dialled = room.some(({ urls }) => urls.length > 0);
        // Where nobody can be dialled there is nothing to be done.
        expect(
          pieces(
            room.map(({ nodeId }) => nodeId),
            edges,
          ),
        ).toBe(dialled ? 1 : room.length);
      }),
      { numRuns: 300 },
    );
  });

  it('tie a room together at each join, where all can be dialled and nobody leaves', () => {
    fc.assert(
      fc.property(members, fc.integer(), (all, seed) => {
        const random = seededRandom(seed);
        const edges: [string, string][] = [];
        const room: Candidate[] = [];
        for (const newcomer of candidates(all.map((one) => ({ ...one, dialled: true })))) {
          room.push(newcomer);
          for (const told of introduce(room, newcomer.nodeId, 2, random)) edges.push([newcomer.nodeId, told.nodeId]);
          expect(
            pieces(
              room.map(({ nodeId }) => nodeId),
              edges,
            ),
          ).toBe(1);
        }
      }),
    );
  });

  it('are spread: of 200 members nobody is handed out to many more than others', () => {
    const room = candidates(Array.from({ length: 200 }, (_, i) => ({ nodeId: `n${1000 + i}`, dialled: true })));
    const random = seededRandom(7);
    const times = new Map<string, number>();
    for (const { nodeId } of room) {
      for (const told of introduce(room, nodeId, 8, random)) times.set(told.nodeId, (times.get(told.nodeId) ?? 0) + 1);
    }
    expect(times.size).toBe(200);
    // Eight on the average; chance alone gives about 18 at most.
    expect(Math.max(...times.values())).toBeLessThan(25);
  });
});
