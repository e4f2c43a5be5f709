import { protocolVersion } from '@pgmesh/wire';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BootstrapNode, type BootstrapNodeOptions, type RegisterBook } from './bootstrap-node';
import type { Registration } from './register';
import { RegisterFile } from './register-file';

const lease = 60_000;

class MemoryBook implements RegisterBook {
  writes: (readonly Registration[])[] = [];
  failure: Error | null = null;
  /** While set, writes wait for it. */
  gate: Promise<void> = Promise.resolve();

  constructor(private readonly kept: Registration[] = []) {}

  async read() {
    return this.kept;
  }

  async write(members: readonly Registration[]) {
    this.writes.push(members);
    await this.gate;
    if (this.failure) throw this.failure;
  }
}

async function open(options: Partial<BootstrapNodeOptions> = {}) {
  const warnings: string[] = [];
  const clock = { now: 0 };
  const book = new MemoryBook();
  const node = await BootstrapNode.open({
    book,
    lease,
    warn: (warning) => warnings.push(warning),
    clock: () => clock.now,
    ...options,
  });
  return { node, book, warnings, clock, [Symbol.asyncDispose]: () => node[Symbol.asyncDispose]() };
}

const who = (node_id: string, room = 'default', instance = `of ${node_id}`) => ({ node_id, room, instance });
const reg = (node: BootstrapNode, node_id: string, urls = [`http://${node_id}:8001`], room?: string) =>
  node.reg({ ...who(node_id, room), protocol: protocolVersion, urls });

describe('a bootstrap node', () => {
  it('introduces members of one room that have joined, never the asker, and names those that cannot be dialled', async () => {
    await using opened = await open();
    const { node } = opened;
    expect(await reg(node, 'a')).toEqual({ lease_ms: lease, registered: 1 });
    expect(await node.join(who('a'))).toEqual({ neighbours: [], undialled: [], joined: 1 });
    await reg(node, 'b');
    await reg(node, 'nat', []);
    await reg(node, 'x', undefined, 'elsewhere');
    await node.join(who('x', 'elsewhere'));
    expect((await node.join(who('a'))).neighbours).toEqual([]);
    await node.join(who('nat'));
    expect(await node.join(who('b'))).toEqual({
      neighbours: [{ node_id: 'a', urls: ['http://a:8001'] }],
      undialled: ['nat'],
      joined: 3,
    });
    await node.leave(who('b'));
    expect((await node.join(who('a'))).neighbours).toEqual([]);
    expect(node.overview()).toEqual({
      lease_ms: lease,
      rooms: [
        { room: 'default', registered: 3, joined: 2 },
        { room: 'elsewhere', registered: 1, joined: 1 },
      ],
    });
  });

  it('forgets whoever does not renew', async () => {
    await using opened = await open();
    const { node, clock } = opened;
    for (const id of ['a', 'b']) {
      await reg(node, id);
      await node.join(who(id));
    }
    clock.now = lease - 1;
    await reg(node, 'a');
    expect((await node.join(who('a'))).neighbours).toHaveLength(1);
    clock.now = lease;
    expect((await node.join(who('a'))).neighbours).toEqual([]);
    await expect(node.join(who('b'))).rejects.toMatchObject({ code: 'not_found' });
  });

  it('refuses by code', async () => {
    await using opened = await open({ limits: { inRoom: 1, inAll: 1 } });
    const { node } = opened;
    await expect(node.reg({})).rejects.toMatchObject({ code: 'bad_request' });
    await expect(node.reg({ ...who('a'), protocol: 99, urls: [] })).rejects.toMatchObject({ code: 'other_protocol' });
    await expect(reg(node, 'a', ['http://169.254.169.254'])).rejects.toMatchObject({ code: 'invalid_peer' });
    await expect(reg(node, 'a', Array<string>(5).fill('http://a'))).rejects.toMatchObject({ code: 'bad_request' });
    await expect(node.join({ ...who('a'), count: 1_000 })).rejects.toMatchObject({ code: 'bad_request' });
    await reg(node, 'a');
    await expect(reg(node, 'b')).rejects.toMatchObject({ code: 'too_many', status: 429, extra: { retry_after: 60 } });
  });

  it('has written down a newcomer before it answers, and does not write for renewals', async () => {
    await using opened = await open();
    const { node, book } = opened;
    await reg(node, 'a');
    expect(book.writes.at(-1)).toMatchObject([{ nodeId: 'a', joined: false }]);
    await node.join(who('a'));
    expect(book.writes.at(-1)).toMatchObject([{ nodeId: 'a', joined: true }]);
    const { length } = book.writes;
    await reg(node, 'a');
    await node.join(who('a'));
    expect(book.writes).toHaveLength(length);
  });

  it('writes once for all that come during a write', async () => {
    await using opened = await open();
    const { node, book } = opened;
    let release = (): void => {};
    book.gate = new Promise((resolve) => (release = resolve));
    const before = book.writes.length;
    const all = Array.from({ length: 20 }, (_, i) => reg(node, `n${i}`));
    release();
    await Promise.all(all);
    expect(book.writes).toHaveLength(before + 2);
    expect(book.writes.at(-1)).toHaveLength(20);
  });

  it('goes on when it cannot write, says so once, and is well when it can again', async () => {
    await using opened = await open();
    const { node, book, warnings } = opened;
    book.failure = new Error('ENOSPC: no space left on device');
    await reg(node, 'a');
    await reg(node, 'b');
    expect(warnings).toEqual([expect.stringContaining('no space left')]);
    expect(node.trouble).toContain('no space left');
    book.failure = null;
    await reg(node, 'c');
    expect(node.trouble).toBeNull();
    expect(book.writes.at(-1)).toHaveLength(3);
  });
});

describe('the file of the register', () => {
  let directory: string;
  beforeEach(async () => (directory = await mkdtemp(join(tmpdir(), 'pgmesh-bootstrap-'))));
  afterEach(() => rm(directory, { recursive: true }));

  it('brings the register through a restart, with leases that begin anew', async () => {
    const path = join(directory, 'below', 'register.json');
    {
      const { node } = await open({ book: new RegisterFile(path) });
      await reg(node, 'a');
      await node.join(who('a'));
      await reg(node, 'gone');
      await node.unreg(who('gone'));
      // Not closed: as after kill -9.
    }
    await using opened = await open({ book: new RegisterFile(path) });
    expect(opened.node.room('default')).toEqual({
      lease_ms: lease,
      members: [{ node_id: 'a', urls: ['http://a:8001'], joined: true, expires_in_ms: lease }],
    });
    expect(await readdir(join(directory, 'below'))).toEqual(['register.json']);
  });

  it.each(['', '{"version":1,"mem', '{"version":2,"members":[]}', '[]'])(
    'is set aside when it holds %j, and a new one begun',
    async (text) => {
      const path = join(directory, 'register.json');
      await writeFile(path, text);
      await using opened = await open({ book: new RegisterFile(path) });
      expect(opened.warnings).toEqual([expect.stringContaining('set aside')]);
      expect(opened.node.overview()).toMatchObject({ rooms: [] });
      expect(await readFile(`${path}.unreadable`, 'utf8')).toBe(text);
    },
  );

  it('that cannot be written is told at the start', async () => {
    await writeFile(join(directory, 'file'), '');
    await expect(open({ book: new RegisterFile(join(directory, 'file', 'register.json')) })).rejects.toThrow();
  });
});
