import { once } from 'node:events';
import type { MeshEvent } from '@pgmesh/sync';
import { WebSocket } from 'ws';
import { eventually, type LiveNode, startMesh } from '../support/mesh-node';

const schema =
  'CREATE TABLE products (id int PRIMARY KEY, name text); CREATE TABLE reviews (id int PRIMARY KEY, words text)';

/** A program that listens to a node. */
class Listener implements AsyncDisposable {
  readonly heard: (MeshEvent | { type: 'hello'; node_id: string })[] = [];

  private constructor(private readonly socket: WebSocket) {
    socket.on('message', (text: Buffer) => this.heard.push(JSON.parse(text.toString()) as MeshEvent));
  }

  static async to(node: LiveNode, query = ''): Promise<Listener> {
    const listener = new Listener(new WebSocket(`${node.url.replace('http', 'ws')}/p2p/ws${query}`));
    await eventually('the node says hello', () => listener.heard.some(({ type }) => type === 'hello'));
    return listener;
  }

  of<Type extends MeshEvent['type']>(type: Type): Extract<MeshEvent, { type: Type }>[] {
    return this.heard.filter((event): event is Extract<MeshEvent, { type: Type }> => event.type === type);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.close();
    await once(this.socket, 'close');
  }
}

it('a WebSocket client hears of plain SQL on another node, at the receiver and at the sender, by table if it asks', async () => {
  await using mesh = await startMesh('a <-> b', schema, { all: { syncInterval: 3_600_000 } });
  const [a, b] = [mesh.node('a'), mesh.node('b')];
  await mesh.connected();
  await using receiver = await Listener.to(b);
  await using sender = await Listener.to(a);
  await using ofReviews = await Listener.to(b, '?types=changes_received&tables=reviews');
  await using sentReviews = await Listener.to(a, '?types=changes_sent&tables=reviews');

  await a.sql(`INSERT INTO products VALUES (1, 'Lamp'), (2, 'Chair')`);
  const products = { peer: 'a', kind: 'window', rows: 2, changed: 2, conflicts: 0, tables: { 'public.products': 2 } };
  await eventually('the receiver tells of it', () =>
    expect(receiver.of('changes_received')).toEqual([expect.objectContaining({ ...products, node_id: 'b' })]),
  );
  await eventually('the sender tells of it', () =>
    expect(sender.of('changes_sent')).toEqual([
      expect.objectContaining({ peer: 'b', node_id: 'a', rows: 2, tables: { 'public.products': 2 } }),
    ]),
  );
  expect(sender.of('news')).not.toEqual([]);

  await a.sql(`INSERT INTO reviews VALUES (1, 'Bright')`);
  await eventually('who asked for reviews hears of them, and of nothing else', () => {
    expect(ofReviews.of('changes_received')).toEqual([expect.objectContaining({ tables: { 'public.reviews': 1 } })]);
    expect(sentReviews.of('changes_sent')).toEqual([expect.objectContaining({ tables: { 'public.reviews': 1 } })]);
  });
  expect(ofReviews.heard.map(({ type }) => type)).toEqual(['hello', 'changes_received']);
});

it('a conflict is told when it is found and when somebody has decided it, by table if a client asks', async () => {
  const before = (id: string) => `INSERT INTO products VALUES (1, '${id}'); INSERT INTO reviews VALUES (1, '${id}')`;
  await using mesh = await startMesh('a <-> b', schema, { before: { a: before('a'), b: before('b') } });
  const a = mesh.node('a');
  await mesh.connected();
  await using all = await Listener.to(a, '?types=conflict_ended');
  await using ofReviews = await Listener.to(a, '?types=conflict_ended&tables=reviews');
  const conflicts = () => a.events.filter((event) => event.type === 'conflict');
  await eventually('they are told', () =>
    expect(conflicts().map(({ peer, table, key }) => ({ peer, table, key }))).toEqual([
      { peer: 'b', table: 'public.products', key: { id: '1' } },
      { peer: 'b', table: 'public.reviews', key: { id: '1' } },
    ]),
  );
  const told = conflicts();
  for (const { id } of told) await a.ask(`conflicts/${id}/resolve`, 'POST', { row: null });
  await eventually('both are told, and to each who asked', () => {
    expect(all.of('conflict_ended').map(({ table }) => table)).toEqual(told.map(({ table }) => table));
    expect(ofReviews.of('conflict_ended')).toEqual([
      expect.objectContaining({ id: told[1]!.id, ended_by: expect.objectContaining({ node_id: 'a' }) }),
    ]);
  });
});

it('a sender tells of what was fetched from it as well', async () => {
  await using mesh = await startMesh('b -> a', schema, { before: { a: `INSERT INTO products VALUES (1, 'Lamp')` } });
  const a = mesh.node('a');
  await mesh.connected();
  const sent = { type: 'changes_sent', peer: 'b' } as const;
  await a.tells({ ...sent, kind: 'copy', tables: { 'public.products': 1 } });
  await a.sql(`INSERT INTO reviews VALUES (1, 'Bright')`);
  await a.tells({ ...sent, kind: 'window', tables: { 'public.reviews': 1 } });
});
