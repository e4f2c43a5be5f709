import type { Schedule, Step } from './schedule';

/** Histories that were found, or thought of, and that chance comes upon too seldom. They are played in every run. */
export interface Case {
  readonly name: string;
  readonly schedule: Schedule;
}

const [read01, read10, read20, read12, read21] = [0, 1, 3, 4, 5];

/** Three nodes that all read from each other, and one row. */
function amongThree(steps: readonly Step[]): Schedule {
  const pairs = [[0, 1] as const, [0, 2] as const, [1, 2] as const];
  const links = pairs.flatMap(([a, b]) => [[a, b] as const, [b, a] as const]);
  const none = [0, 0, 0];
  return { topology: 'ring', nodes: 3, links, rows: 1, strategy: 'merge-fields', priorities: none, skews: none, steps };
}

function reads(link: number): Step[] {
  return [
    { do: 'send', link },
    { do: 'arrive', nth: 0, again: false },
  ];
}

function sets(node: number, column: 'a' | 'b', value: string): Step[] {
  return [
    { do: 'write', node, row: 0, edit: { do: 'set', column, value } },
    { do: 'commit', node },
  ];
}

function member(node: number, value: string | null): Step[] {
  return [
    { do: 'write', node, row: 0, edit: { do: 'member', key: 'x', value } },
    { do: 'commit', node },
  ];
}

export const cases: readonly Case[] = [
  {
    name: 'a key that one node removed is not brought back by another that had only chosen between it and a third value',
    schedule: amongThree([
      ...sets(0, 'a', '1'),
      ...reads(read10),
      ...reads(read20),
      ...member(1, '1.1'),
      ...member(0, '1.2'),
      ...reads(read20),
      ...member(2, null),
      ...reads(read21),
      ...sets(2, 'b', '3'),
      ...reads(read01),
      ...sets(0, 'a', '2'),
    ]),
  },
  {
    name: 'what a peer knows of a node before it was restored says nothing about it afterwards',
    schedule: amongThree([
      { do: 'backup', node: 0 },
      ...sets(0, 'a', '1'),
      ...sets(0, 'a', '2'),
      ...sets(0, 'a', '3'),
      ...reads(read20),
      { do: 'restore', node: 0 },
      ...reads(read10),
      ...reads(read12),
      ...sets(0, 'b', '1'),
    ]),
  },
];
