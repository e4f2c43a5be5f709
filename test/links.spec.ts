/** Nodes that know many peers and link to few, over HTTP with stores in memory. */
import { MemoryStore } from '../libs/sync/test-support/memory-store';
import { converged, eventually, TestNode } from '../libs/sync/test-support/node';

const tables = ['public.items'];
const bound = 4;
const options = { interval: 2_000, links: bound, retries: 1 };

/** Each of them has found all others. */
function introduce(nodes: readonly TestNode[]): void {
  for (const node of nodes) {
    for (const other of nodes) if (other !== node) node.peers.find(other.url, other.store.identity.nodeId);
  }
}

const start = (id: string): Promise<TestNode> => TestNode.start(new MemoryStore(id, tables), options);
const linked = ({ mesh }: TestNode) => mesh.status().peers.filter(({ state }) => state !== 'idle');
/** Those that were found first are linked to first, and let go later. */
const settled = (nodes: readonly TestNode[]): Promise<void> =>
  eventually('every link is chosen, and live', () =>
    nodes.every((node) => linked(node).every(({ state, reason }) => state === 'live' && reason !== null)),
  );

describe('a mesh of twelve with four links each', () => {
  const nodes: TestNode[] = [];
  beforeEach(async () => {
    for (let i = 0; i < 12; i += 1) nodes.push(await start(`n${i}`));
    introduce(nodes);
    await settled(nodes);
  });
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node[Symbol.asyncDispose]()));
  });

  it('brings a write anywhere to all, over few links, and tells which these are and why', async () => {
    for (const node of nodes) {
      const status = node.mesh.status();
      expect(status.peers).toHaveLength(11);
      // A busy machine may take one for dead: then another stands in for it.
      const reasons = linked(node).flatMap(({ reason }) => (reason === 'replacement' ? [] : [reason]));
      expect(reasons.length).toBeGreaterThanOrEqual(2);
      expect(reasons.length).toBeLessThanOrEqual(bound);
      expect(new Set(reasons)).toEqual(new Set(['neighbour']));
      await eventually('they hold links to it', () => {
        const holders = nodes.filter((one) => one.mesh.links().includes(node.store.identity.nodeId));
        return (
          String(node.mesh.status().linked_by) === String(holders.map(({ store }) => store.identity.nodeId).sort())
        );
      });
    }
    for (const [i, { store }] of nodes.entries()) store.write('public.items', `${i}`, 'x');
    await converged(...nodes);
  });

  it('knows all as members, linked to or not, and says of whom it is not linked to why nothing can be asked of it', async () => {
    const [node] = nodes as [TestNode];
    await eventually('all know all', async () => {
      const counts = await Promise.all(nodes.map(async ({ mesh }) => (await mesh.membership.heads()).length));
      return counts.every((count) => count === nodes.length);
    });
    const idle = node.mesh.status().peers.find(({ state }) => state === 'idle')!.node_id!;
    const refusal = { code: 'not_found', message: expect.stringContaining('There is no link to that peer') as string };
    await expect(node.mesh.syncNow(idle)).rejects.toMatchObject(refusal);
    await expect(node.mesh.compare({ peer: idle, repair: false })).rejects.toMatchObject(refusal);
    await expect(node.mesh.syncNow('nobody')).rejects.toMatchObject({ message: 'There is no such peer.' });
  });

  it('heals when nodes die: others stand in for them, and no longer when they are back', async () => {
    const [dead, ...rest] = [nodes[5]!, ...nodes.filter((_, i) => i !== 5)];
    const { port } = dead;
    const id = dead.store.identity.nodeId;
    const neighbours = rest.filter((node) => linked(node).some(({ node_id }) => node_id === id));
    expect(neighbours.length).toBeGreaterThan(0);
    await dead[Symbol.asyncDispose]();
    await eventually('it is found to be gone', () =>
      neighbours.every((node) => linked(node).some(({ node_id, state }) => node_id === id && state === 'unreachable')),
    );
    for (const [i, { store }] of rest.entries()) store.write('public.items', `${i}`, 'x');
    await converged(...rest);

    nodes[5] = await TestNode.start(dead.store, options, port);
    for (const other of rest) nodes[5].peers.find(other.url, other.store.identity.nodeId);
    await converged(...nodes);
    await eventually('nobody stands in any more', () =>
      nodes.every((node) => linked(node).length <= bound && linked(node).every(({ reason }) => reason === 'neighbour')),
    );
  });

  it('counts a node that dials and cannot be dialled, and need not dial it', async () => {
    await using behind = await TestNode.start(new MemoryStore('behind', tables), { ...options, url: () => null });
    for (const other of nodes) behind.peers.find(other.url, other.store.identity.nodeId);
    await settled([behind]);
    await eventually('they know of its links', () => {
      const holders = nodes.filter(({ mesh }) => mesh.status().linked_by.includes('behind'));
      return holders.length === linked(behind).length && holders.length >= 2;
    });
    behind.store.write('public.items', 'from behind', 'x');
    nodes[3]!.store.write('public.items', 'to behind', 'x');
    await converged(behind, ...nodes);
  });
});
