// @ts-check
import { setTimeout as pause } from 'node:timers/promises';
import { now, Overdue } from '../deadline.mjs';
import { NodeProcess } from '../node-process.mjs';
import { PostgresServer } from '../postgres.mjs';
import { CountingProxy } from './counting-proxy.mjs';
import { Site } from './site.mjs';

const patience = 180_000;
const table = 'public.items';
const createTable = `CREATE TABLE ${table} (id text PRIMARY KEY, body text NOT NULL)`;
/** A database that 20 nodes share must let them all in. Counts do not depend on the disk, so it is left in peace. */
const settings = { max_connections: 600, shared_buffers: '128MB', fsync: 'off' };

/** Real nodes, a process each, over one PostgreSQL server; every link goes through a proxy that counts. */
export class LiveMesh {
  /** @param {Site[]} sites @param {CountingProxy[]} proxies */
  constructor(sites, proxies) {
    this.sites = sites;
    this.proxies = proxies;
  }

  /**
   * @param {{ teardown: import('../teardown.mjs').Teardown, directory: string }} run
   * @param {import('./topology.mjs').Topology} topology
   * @param {Record<string, string>} env settings of all nodes
   */
  static async start({ teardown, directory }, { nodes, links }, env) {
    const server = await PostgresServer.start(teardown, { name: 'mesh', directory, walLevel: 'replica', settings });
    const admin = await server.connect('postgres');
    const sites = [];
    for (let i = 0; i < nodes; i++) {
      const id = `n${String(i).padStart(2, '0')}`;
      await admin.query(`CREATE DATABASE ${id}`);
      const database = await server.connect(id);
      await database.query(createTable);
      const databaseUrl = server.url.replace(/bench$/, id);
      const node = await NodeProcess.start(teardown, { id, databaseUrl, tables: table, directory, patience, env });
      const site = new Site(id, node, database);
      await site.watch(teardown);
      sites.push(site);
    }
    const proxies = [];
    for (const [from, to] of links) {
      const proxy = await CountingProxy.to(teardown, sites[to].node.url);
      proxies.push(proxy);
      await sites[from].node.addPeer(proxy.url);
    }
    const mesh = new LiveMesh(sites, proxies);
    // Without links the nodes find each other.
    if (links.length > 0) await mesh.connected(links.length);
    return mesh;
  }

  get bytes() {
    return this.proxies.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get received() {
    const sum = (/** @type {'rows' | 'changed' | 'windows'} */ of) =>
      this.sites.reduce((total, { received }) => total + received[of], 0);
    return { rows: sum('rows'), changed: sum('changed'), windows: sum('windows') };
  }

  /** Waits until every link is live, and the first copies have ended. @param {number} links */
  async connected(links) {
    await this.#until(`${links} links to be live`, async () => {
      const all = (await Promise.all(this.sites.map((site) => site.links()))).flat();
      return all.length === links && all.every(({ state, position, copying }) => state === 'live' && position && !copying); // prettier-ignore
    });
  }

  /** Waits until all tables are equal. @param {Site[]} [sites] */
  async equal(sites = this.sites) {
    const digest = `SELECT md5(string_agg(id || body, ',' ORDER BY id)) AS digest FROM ${table}`;
    await this.#until('all nodes to have the same rows', async () => {
      const answers = await Promise.all(sites.map(({ database }) => database.query(digest)));
      return new Set(answers.map(({ rows }) => rows[0].digest)).size === 1;
    });
  }

  /** Waits until no rows have moved for a second. */
  async still() {
    let last = { ...this.received, at: now() };
    await this.#until('rows to come to rest', async () => {
      if (this.received.rows !== last.rows) last = { ...this.received, at: now() };
      return now() - last.at > 1_000;
    });
  }

  /** @param {string} what @param {() => Promise<unknown>} condition */
  async #until(what, condition) {
    const deadline = now() + patience;
    while (!(await condition())) {
      for (const { node } of this.sites) if (!node.isEnded) node.inspect();
      if (now() > deadline) throw new Overdue(what, patience);
      await pause(50);
    }
  }
}
