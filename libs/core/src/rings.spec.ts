import fc from 'fast-check';
import { ringNeighbours } from './rings';

const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 60 });
const bound = fc.integer({ min: 2, max: 12 });

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

function graphOf(nodes: readonly string[], most: number): Graph {
  return new Map(nodes.map((node) => [node, ringNeighbours(node, nodes, most)]));
}

/** All that one node reaches, with a link carrying both directions. */
function reached(graph: Graph, from: string): Set<string> {
  const both = new Map([...graph].map(([node, chosen]) => [node, new Set(chosen)]));
  for (const [node, chosen] of graph) for (const other of chosen) both.get(other)?.add(node);
  const met = new Set([from]);
  for (const node of met) for (const other of both.get(node) ?? []) met.add(other);
  return met;
}

describe('the links that nodes choose', () => {
  it('connect every set of nodes', () => {
    fc.assert(
      fc.property(ids, bound, (nodes, most) => {
        expect(reached(graphOf(nodes, most), nodes[0]!).size).toBe(nodes.length);
      }),
    );
  });

  it('connect those that are left, whoever fails, once the others leave these out', () => {
    fc.assert(
      fc.property(ids, bound, fc.infiniteStream(fc.boolean()), (nodes, most, failing) => {
        const left = nodes.filter(() => !failing.next().value);
        if (left.length === 0) return;
        expect(reached(graphOf(left, most), left[0]!).size).toBe(left.length);
      }),
    );
  });

  it('are no more than the bound, their own and those that others hold to them', () => {
    fc.assert(
      fc.property(ids, bound, (nodes, most) => {
        const graph = graphOf(nodes, most);
        for (const [node, chosen] of graph) {
          const choosing = nodes.filter((other) => graph.get(other)!.has(node));
          expect(chosen.has(node)).toBe(false);
          expect(chosen.size).toBeLessThanOrEqual(most);
          // With an odd bound one ring is held in one direction.
          expect(new Set([...chosen, ...choosing]).size).toBeLessThanOrEqual(most + (most % 2));
          if (nodes.length <= most + 1) expect(chosen.size).toBe(nodes.length - 1);
        }
      }),
    );
  });

  it('are chosen by both ends, where the bound is even', () => {
    fc.assert(
      fc.property(ids, bound, (nodes, half) => {
        const graph = graphOf(nodes, 2 * half);
        for (const [node, chosen] of graph) for (const other of chosen) expect(graph.get(other)!.has(node)).toBe(true);
      }),
    );
  });

  it('stay as they were but for a few when a node comes, or goes', () => {
    fc.assert(
      fc.property(ids, bound, (nodes, most) => {
        const [newcomer, ...old] = nodes as [string, ...string[]];
        if (old.length <= most + 1) return;
        const [before, after] = [graphOf(old, most), graphOf(nodes, most)];
        const changed = old.flatMap((node) => [...before.get(node)!].filter((other) => !after.get(node)!.has(other)));
        // On each ring the newcomer comes between two, which let go of each other.
        expect(changed.length).toBeLessThanOrEqual(most + (most % 2));
        const gained = old.filter((node) => after.get(node)!.has(newcomer));
        expect(gained.length).toBeLessThanOrEqual(most + (most % 2));
      }),
    );
  });

  it('are spread: of 300 nodes with 8 links each none is farther than 6 hops from any', () => {
    const nodes = Array.from({ length: 300 }, (_, i) => `node${i}`);
    const graph = graphOf(nodes, 8);
    for (const from of nodes.slice(0, 20)) {
      let [met, edge, hops] = [new Set([from]), [from], 0];
      while (edge.length > 0 && met.size < nodes.length) {
        edge = [...new Set(edge.flatMap((node) => [...graph.get(node)!]))].filter((other) => !met.has(other));
        met = new Set([...met, ...edge]);
        hops += 1;
      }
      expect(met.size).toBe(nodes.length);
      expect(hops).toBeLessThanOrEqual(6);
    }
  });
});
