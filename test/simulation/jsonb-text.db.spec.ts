import { joinObject, seededRandom, splitObject } from '@pgmesh/core';
import { createDatabase } from '../support/database';

it('an object that was taken apart and put together is what PostgreSQL prints, byte for byte', async () => {
  await using database = await createDatabase();
  const random = seededRandom(7);
  const below = (n: number) => Math.floor(random() * n);
  const pieces = [
    'a',
    'B',
    'é',
    '"',
    '\\',
    '\n',
    '\u0001',
    '\u007f',
    '\u2028',
    '\uff00',
    '\u{1f600}',
    ' ',
    '/',
    '{',
    ',',
    ':',
  ];
  const text = () => Array.from({ length: below(4) }, () => pieces[below(pieces.length)]!).join('');
  const values = [
    '1.0',
    '1.00',
    '12345678901234567890',
    '-0',
    '1e3',
    'null',
    'true',
    '"x,}\\""',
    '{"b":1,"a":[2,{}]}',
    '[ ]',
  ];
  const objects = Array.from({ length: 300 }, () =>
    Array.from({ length: below(8) }, () => `${JSON.stringify(text())}:${values[below(values.length)]!}`),
  );
  const printed = await database.sql<{ object: string }>(
    `SELECT (o::jsonb)::text AS object FROM unnest($1::text[]) WITH ORDINALITY AS u (o, n) ORDER BY n`,
    [objects.map((members) => `{${members.join(',')}}`)],
  );
  expect(printed).toHaveLength(300);
  for (const { object } of printed) {
    const members = splitObject(object)!;
    const shuffled = new Map([...members].reverse());
    expect(joinObject(shuffled)).toBe(object);
  }
});
