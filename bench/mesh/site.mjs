// @ts-check
import WebSocket from 'ws';

/** One node of the mesh with its database, and what it says of the rows that come to it. */
export class Site {
  /** Rows that came in from peers, and of these, rows that were news. */
  received = { rows: 0, changed: 0, windows: 0 };

  /**
   * @param {string} id
   * @param {import('../node-process.mjs').NodeProcess} node
   * @param {import('pg').Client} database
   */
  constructor(id, node, database) {
    this.id = id;
    this.node = node;
    this.database = database;
  }

  /** Counts from now on. @param {import('../teardown.mjs').Teardown} teardown */
  async watch(teardown) {
    const socket = new WebSocket(`${this.node.url.replace('http', 'ws')}/p2p/ws?types=changes_received`);
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    socket.on('error', (error) => console.error(`the events of ${this.id} were lost: ${error.message}`));
    socket.on('message', (text) => {
      const event = JSON.parse(String(text));
      if (event.type !== 'changes_received') return;
      this.received.rows += event.rows;
      this.received.changed += event.changed;
      this.received.windows += 1;
    });
    teardown.defer(`the events of ${this.id}`, async () => socket.close());
  }

  /** @returns {Promise<{ state: string, node_id: string | null, position: string | null, copying: unknown }[]>} */
  async links() {
    const response = await fetch(`${this.node.url}/p2p/status`, { signal: globalThis.AbortSignal.timeout(30_000) });
    if (!response.ok)
      throw new Error(`${this.id} does not tell its status: ${response.status} ${await response.text()}`);
    return /** @type {any} */ (await response.json()).peers;
  }
}
