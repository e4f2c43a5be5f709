// @ts-check

/**
 * Nodes by number, and who dials whom. A link that both ends dial stands there twice.
 * @typedef {{ name: string, nodes: number, links: [number, number][] }} Topology
 */

/** @param {[number, number][]} pairs @returns {[number, number][]} */
const bothWays = (pairs) => pairs.flatMap(([a, b]) => /** @type {[number, number][]} */ ([[a, b], [b, a]])); // prettier-ignore

/** @param {number} from @param {number} to @returns {[number, number][]} */
function clique(from, to) {
  const members = range(from, to);
  return members.flatMap((a) => members.filter((b) => b > a).map((b) => /** @type {[number, number]} */ ([a, b])));
}

/** @param {number} from @param {number} to */
const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

/** Of so many nodes each. @type {Record<string, (nodes: number) => Topology>} */
export const topologies = {
  mesh: (nodes) => ({ name: 'full mesh', nodes, links: bothWays(clique(0, nodes)) }),
  ring: (nodes) => ({ name: 'ring', nodes, links: bothWays(range(0, nodes).map((i) => [i, (i + 1) % nodes])) }),
  line: (nodes) => ({ name: 'line', nodes, links: bothWays(range(1, nodes).map((i) => [i - 1, i])) }),
  star: (nodes) => ({ name: 'star', nodes, links: bothWays(range(1, nodes).map((i) => [0, i])) }),
  cliques: (nodes) => {
    const half = Math.floor(nodes / 2);
    const bridge = /** @type {[number, number][]} */ ([[half - 1, half]]);
    return { name: 'two cliques, a bridge', nodes, links: bothWays([...clique(0, half), ...clique(half, nodes), ...bridge]) }; // prettier-ignore
  },
};
