// @ts-check
// What it costs to compare two nodes: `npm run bench:verify`. docs/performance.md says what is measured and how to read it.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { NodeProcess } from './node-process.mjs';
import { PostgresServer } from './postgres.mjs';
import { createTable, digest, insertBatch } from './table.mjs';
import { Teardown } from './teardown.mjs';

const { values: options } = parseArgs({
  options: { rows: { type: 'string', default: '1000000' }, differences: { type: 'string', default: '10' } },
});
const [rows, differences] = [Number(options.rows), Number(options.differences)];
const table = 'compared';

/** A way between nodes that counts what goes over it. @param {number} target @param {Teardown} teardown */
async function counting(target, teardown) {
  const counted = { bytes: 0, url: '' };
  const server = createServer((from) => {
    const to = connect(target, '127.0.0.1');
    for (const [one, other] of [
      [from, to],
      [to, from],
    ]) {
      one.on('data', (piece) => {
        counted.bytes += piece.length;
        other.write(piece);
      });
      one.on('error', () => other.destroy());
      one.once('close', () => other.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const address = server.address();
  counted.url = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
  teardown.defer('the way between the nodes', async () => void server.close());
  return counted;
}

/** @param {string} url @param {object} asked */
async function verify(url, asked = {}) {
  const begun = performance.now();
  const response = await fetch(`${url}/p2p/verify`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(asked),
  });
  const lines = (await response.text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const compared = lines.find(({ type }) => type === 'table');
  if (!compared) throw new Error(`nothing was compared: ${JSON.stringify(lines)}`);
  return { ...compared, seconds: (performance.now() - begun) / 1000 };
}

const teardown = new Teardown();
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => void teardown.end().then(() => process.exit(130)));
process.once('exit', () => teardown.atExit());
try {
  const directory = mkdtempSync(join(tmpdir(), 'pgmesh-bench-'));
  teardown.directory(directory);
  const servers = await Promise.all(
    ['a', 'b'].map((name) => PostgresServer.start(teardown, { name, directory, walLevel: 'replica' })),
  );
  const clients = await Promise.all(servers.map((server) => server.connect()));
  const [atA, atB] = clients;
  for (const client of clients) await client.query(createTable(table));
  console.error(`${rows} rows`);
  await atA.query(insertBatch(table, 'v', 1), [rows]);
  const nodes = await Promise.all(
    servers.map((server, i) =>
      NodeProcess.start(teardown, {
        id: 'ab'[i],
        databaseUrl: server.url,
        tables: table,
        directory,
        patience: 300_000,
      }),
    ),
  );
  const way = await counting(Number(new URL(nodes[0].url).port), teardown);
  await nodes[1].addPeer(way.url);
  console.error('the first copy');
  for (;;) {
    const {
      rows: [count],
    } = await atB.query(`SELECT count(*)::int4 AS rows FROM ${table}`);
    const {
      rows: [position],
    } = await atB.query("SELECT count(*)::int4 AS followed FROM p2p.position WHERE tables <> '{}' AND copy IS NULL");
    if (count.rows === rows && position.followed === 1) break;
    await pause(500);
  }
  for (const client of clients) await client.query('VACUUM ANALYZE');
  // Whoever compares asks who follows whom: greetings have told that by then.
  await pause(5_000);

  /** @param {() => Promise<any>} work */
  const measured = async (work) => {
    const before = way.bytes;
    const result = await work();
    return {
      seconds: result.seconds,
      bytes: way.bytes - before,
      differ: result.differ,
      repaired: result.repaired,
      rows: result.rows,
    };
  };
  const scan = async () => {
    const begun = performance.now();
    await Promise.all(clients.map((client) => client.query(digest(table))));
    return (performance.now() - begun) / 1000;
  };
  await scan();
  const yardstick = await scan();
  const equal = await measured(() => verify(nodes[1].url));
  await atA.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`);
  await atA.query(
    `UPDATE ${table} SET counter = -1 WHERE id IN (SELECT md5('v:' || 1 + i * ($1::int4 / $2::int4))::uuid FROM generate_series(0, $2::int4 - 1) AS i)`,
    [rows, differences],
  );
  const { rows: triggers } = await atA.query(
    `SELECT quote_ident(tgname) AS name FROM pg_trigger WHERE tgrelid = '${table}'::regclass AND NOT tgisinternal`,
  );
  for (const { name } of triggers) await atA.query(`ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${name}`);
  const found = await measured(() => verify(nodes[1].url));
  const repaired = await measured(() => verify(nodes[1].url, { repair: true }));
  const after = await measured(() => verify(nodes[1].url));
  const {
    rows: [{ bytes }],
  } = await atA.query(`SELECT pg_table_size('${table}')::text AS bytes`);
  const report = {
    rows,
    differences,
    table_bytes: Number(bytes),
    scan_seconds: yardstick,
    equal,
    found,
    repaired,
    after,
  };
  const out = fileURLToPath(new URL('./out/', import.meta.url));
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, 'verify.json'), JSON.stringify(report, null, 2));
  for (const name of /** @type {const} */ (['equal', 'found', 'repaired', 'after'])) {
    const { seconds, bytes: sent, differ } = report[name];
    console.log(
      `${name.padEnd(9)} ${differ} of ${rows} rows differ   ${seconds.toFixed(1)} s, ${(seconds / yardstick).toFixed(1)} × reading both tables   ` +
        `${(sent / 1024).toFixed(1)} KiB, 1/${Math.round(Number(bytes) / sent)} of the table`,
    );
  }
  if (equal.differ !== 0 || found.differ !== differences || repaired.repaired !== differences || after.differ !== 0) {
    throw new Error('the comparison was wrong');
  }
} finally {
  await teardown.end();
}
