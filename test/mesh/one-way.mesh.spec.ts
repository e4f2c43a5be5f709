import { eventually, eventuallyEqual, startMesh } from '../support/mesh-node';

const schema = 'CREATE TABLE readings (id int PRIMARY KEY, site text)';
/** Nothing here happens because an interval has passed. */
const all = { syncInterval: 600_000 };

it('a node that dials and cannot be dialled is live in both directions', async () => {
  await using mesh = await startMesh('inside -> outside', schema, { all });
  const [inside, outside] = [mesh.node('inside'), mesh.node('outside')];
  await mesh.connected();
  for (let i = 0; i < 5; i++) {
    await inside.sql('INSERT INTO readings VALUES ($1, $2)', [i, 'inside']);
    await eventuallyEqual(inside, outside);
    await outside.sql('INSERT INTO readings VALUES ($1, $2)', [100 + i, 'outside']);
    await eventuallyEqual(inside, outside);
  }
  // It is counted by the one that cannot dial it.
  await eventually('the other knows of the link', async () => {
    expect(await outside.status()).toMatchObject({ peers: [], linked_by: ['inside'] });
  });
});

it('two nodes behind NAT exchange by a third that both dial, each row about once', async () => {
  await using mesh = await startMesh('a -> hub, b -> hub', schema, { all });
  await mesh.connected();
  const [a, b] = [mesh.node('a'), mesh.node('b')];
  for (let i = 0; i < 4; i++) {
    const [from, to] = i % 2 === 0 ? [a, b] : [b, a];
    await from.sql('INSERT INTO readings VALUES ($1, $2)', [i, from.id]);
    await eventuallyEqual(from, to);
  }
  await eventuallyEqual(...mesh.nodes);
  // A row may come back to its writer once, before the hub knows whose it is.
  expect(mesh.rowsReceived).toBeLessThanOrEqual(4 * 2 + 2);
});
