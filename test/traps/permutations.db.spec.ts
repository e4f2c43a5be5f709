import { parseRules, type Rules } from '@pgmesh/core';
import type { Finding } from '@pgmesh/store';
import type { Frame } from '@pgmesh/wire';
import { contents, storeNode, type StoreNode } from '../support/store-node';

const schema = `CREATE TABLE items (id int PRIMARY KEY, name text);`;

function rules(text: string): Rules {
  const outcome = parseRules(text);
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
  return outcome.rules;
}

/** Where a strategy does not choose by priority it does not matter that b's is highest. */
const priorities: Readonly<Record<string, number>> = { a: 1, b: 9, c: 5 };

const node = (id: string, strategy = 'last-write-wins', onFinding?: (finding: Finding) => void) =>
  storeNode(id, schema, ['items'], {
    rules: rules(strategy),
    resolvers: { default: (_key, a, b) => ({ ...b.value!, name: `${a.value!.name}+${b.value!.name}` }) },
    priority: priorities[id] ?? 0,
    ...(onFinding ? { onFinding } : {}),
  });

/** All that a node has of its feed, to be given to anybody. */
async function letter(from: StoreNode): Promise<readonly Frame[]> {
  const window = await from.store.feed.open(
    { kind: 'copy', tables: ['public.items'], at: null },
    { except: () => [], limit: 1000 },
  );
  const frames: Frame[] = [];
  for await (const frame of window.frames()) {
    frames.push(frame.type === 'data' ? { ...frame, bytes: Buffer.from(frame.bytes) } : frame);
  }
  return frames;
}

/** Letters are given as if each came from a feed of its own: in any order, and each connects. */
async function give(to: StoreNode, frames: readonly Frame[], number: number): Promise<void> {
  const feed = number.toString(16).padStart(12, '0');
  const sent = async function* (): AsyncGenerator<Frame> {
    for (const frame of frames) yield frame.type === 'window' ? { ...frame, epoch: feed } : frame;
  };
  expect((await to.store.inbox.apply(sent())).outcome).toBe('applied');
}

async function clockAt(to: StoreNode, time: number): Promise<void> {
  await to.sql(`CREATE OR REPLACE FUNCTION p2p.clock() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT ${time}::int8'`);
}

function permutations<T>(of: readonly T[]): T[][] {
  if (of.length < 2) return [[...of]];
  return of.flatMap((one, i) => permutations([...of.slice(0, i), ...of.slice(i + 1)]).map((rest) => [one, ...rest]));
}

/** What must stand, by the definition: of b@2, c@4 and a″@5, all concurrent; a@1 and a′@3 are covered. */
const strategies: readonly { readonly strategy: string; readonly stands: string }[] = [
  { strategy: 'last-write-wins', stands: 'a″' },
  { strategy: 'first-write-wins', stands: 'b' },
  { strategy: 'node-priority', stands: 'b' },
  { strategy: 'manual', stands: 'a″' },
  { strategy: 'merge-fields', stands: 'a″' },
  { strategy: 'custom', stands: 'b+c+a″' },
];

describe('trap 07: the order of arrival', () => {
  /** a@1, a′@3 and a″@5 one after another; b@2 and c@4 by nodes that had seen nothing; and what d saw: a@1 and b@2 together. */
  async function history(base: number): Promise<readonly (readonly Frame[])[]> {
    await using a = await node('a');
    await using b = await node('b');
    await using c = await node('c');
    await using d = await node('d');
    const letters: (readonly Frame[])[] = [];
    const write = async (by: StoreNode, at: number, name: string) => {
      await clockAt(by, base + at);
      await by.sql(`INSERT INTO items VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET name = excluded.name`, [name]);
      letters.push(await letter(by));
    };
    await write(a, 1, 'a');
    await write(b, 2, 'b');
    await give(d, letters[0]!, 1);
    await give(d, letters[1]!, 2);
    await write(a, 3, 'a′');
    await write(c, 4, 'c');
    await write(a, 5, 'a″');
    letters.push(await letter(d));
    return letters;
  }

  it.each(strategies)('of $strategy changes nothing, in all permutations', async ({ strategy, stands }) => {
    const letters = await history(Date.now() * 1000 - 1_000_000);
    await using receiver = await node('r', strategy);
    let expected: Awaited<ReturnType<typeof contents>> | null = null;
    let number = 0;
    // All orders of a@1, b@2, a′@3 and what d saw; the other two come at any place among them, and each once more at the end.
    for (const order of permutations([0, 1, 2, 5])) {
      order.splice(number % 5, 0, 3);
      order.splice(number % 6, 0, 4);
      await receiver.sql(`TRUNCATE items, p2p.meta_1`);
      for (const i of [...order, ...order.slice(0, 2)]) await give(receiver, letters[i]!, ++number);
      const found = await contents(receiver, 'items');
      expect(await receiver.sql('SELECT name FROM items')).toEqual([{ name: stands }]);
      expected ??= found;
      expect({ order, ...found }).toEqual({ order, ...expected });
    }
    // Beside a composed row all three lie whole.
    const [row] = await receiver.sql<{ versions: number }>(
      `SELECT count(DISTINCT v.version)::int AS versions FROM p2p.meta_1 AS m,
         LATERAL (SELECT jsonb_build_array(m.stamp, m.origin) UNION ALL
           SELECT jsonb_build_array(s -> 'stamp', s -> 'origin') FROM jsonb_array_elements(m.siblings) AS s) AS v (version)`,
    );
    expect(row).toEqual({ versions: 3 });
  });
});

describe('trap 08: twenty writers of a row that have not seen each other', () => {
  it('leave twenty versions however often each writes; a write over them covers all; and the crowd is told', async () => {
    const findings: Finding[] = [];
    await using receiver = await node('r', 'first-write-wins', (finding) => findings.push(finding));
    await using blind = await node('w');
    const origins: string[] = [];
    let number = 0;
    for (let writer = 0; writer < 20; writer++) {
      // The same database goes on under another name, and forgets.
      const origin = `w${writer}~${writer.toString(16).padStart(12, '0')}`;
      origins.push(origin);
      await blind.sql(`TRUNCATE items; TRUNCATE p2p.meta_1`);
      for (let write = 0; write < 3; write++) {
        await blind.sql(`INSERT INTO items VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET name = excluded.name`, [
          `${writer} ${write}`,
        ]);
        await blind.sql(`UPDATE p2p.meta_1 SET origin = $1, past = NULL, siblings = NULL`, [origin]);
        await give(receiver, await letter(blind), ++number);
      }
    }
    const versions = () =>
      receiver.sql<{ origin: string; past: Record<string, number> | null; names: string[] }>(
        `SELECT origin, past, ARRAY(SELECT name FROM items UNION ALL SELECT s -> 'image' ->> 'name'
           FROM jsonb_array_elements(siblings) AS s) AS names FROM p2p.meta_1`,
      );
    const [crowded] = await versions();
    expect([...crowded!.names].sort()).toEqual(Array.from({ length: 20 }, (_, i) => `${i} 2`).sort());
    expect(findings.filter(({ problem }) => problem.includes('concurrent versions'))).toEqual([
      expect.objectContaining({
        level: 'warning',
        table: 'public.items',
        problem: expect.stringMatching(/^A row has 17 concurrent versions/),
        remedy: expect.stringMatching(/^Any write of it/),
      }),
    ]);
    expect((await receiver.store.health()).crowded).toMatchObject({ table: 'public.items', versions: 17 });

    await receiver.sql(`UPDATE items SET name = 'decided'`);
    const [decided] = await versions();
    expect(decided!.names).toEqual(['decided']);
    expect(Object.keys(decided!.past!).sort()).toEqual(origins.sort());
    // None of the twenty comes back.
    await give(receiver, await letter(blind), ++number);
    expect((await versions())[0]!.names).toEqual(['decided']);
  });
});
