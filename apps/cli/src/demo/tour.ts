import type { Ready } from './demo-node';

/** Commands to paste, with the addresses as they are. */
export function tour(nodes: readonly Ready[]): string[] {
  const [one, two, three] = nodes as [Ready, Ready, Ready];
  const json = "-H 'content-type: application/json'";
  const steps: [what: string, command: string][] = [
    ['create a product on node 1', `curl -s ${one.url}/products ${json} -d '{"name":"Lamp","price":"49.00"}'`],
    ['read it on node 2 and node 3', `curl -s ${two.url}/products; curl -s ${three.url}/products`],
    [
      'change it in SQL on node 3',
      `psql '${three.databaseUrl}' -c "UPDATE products SET price = 45 WHERE name = 'Lamp'"`,
    ],
    [
      'read that on node 1',
      `curl -s '${one.url}/p2p/table/products/changes?since=${new Date().toISOString().slice(0, 10)}'`,
    ],
    ['see how a node is doing', `curl -s ${one.url}/p2p/status`],
    ['see its peers', `curl -s ${one.url}/p2p/peers`],
    ['watch its events', `npx pgmesh events --url ${one.url}   (a WebSocket: ${one.url.replace('http', 'ws')}/p2p/ws)`],
    ['read the API', `${one.url}/docs`],
  ];
  const width = Math.max(...steps.map(([what]) => what.length));
  return steps.map(([what, command]) => `  ${what.padEnd(width)}  ${command}`);
}
