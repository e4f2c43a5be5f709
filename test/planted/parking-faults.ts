import type { parkingCases } from './parking-cases';
import type { EngineFault } from './planted-engine';

const parking = (name: string) => `libs/store/src/parking/${name}.ts`;

/** A fault, and the case in which it shows. */
export interface ParkingFault extends EngineFault {
  readonly shows: keyof typeof parkingCases;
}

const fault = (
  name: string,
  shows: ParkingFault['shows'],
  file: string,
  words: string,
  instead: string,
): ParkingFault => ({ name, shows, slips: [{ file, words, instead }] });

/** What goes wrong where it is decided which rows stand (docs/parking.md), planted one at a time. */
export const parkingFaults: readonly ParkingFault[] = [
  // Keys
  fault(
    'rows of one stamp are ranked without their origins',
    'two nodes take one key',
    parking('rank'),
    '[`${stamp} ${sense}`, `${origin} ${sense}`, ...keys]',
    '[`${stamp} ${sense}`, ...keys]',
  ),
  fault(
    'a standing row of one stamp gives way whatever its origin',
    'two nodes take one key',
    parking('rank'),
    'return `(${stamp}, ${origin})`;',
    'return `(${stamp}, 0)`;',
  ),
  fault(
    'of two lifted rows the younger holds',
    'the older row has the key',
    parking('rank'),
    "const sense = shape.oldestFirst ? 'ASC' : 'DESC';",
    "const sense = 'DESC';",
  ),
  fault(
    'a younger row keeps its key against an older one',
    'the older row has the key',
    parking('rank'),
    "const beyond = shape.oldestFirst ? '<' : '>';",
    "const beyond = '>';",
  ),
  fault(
    'a row is as old as its last write',
    'the older row has the key',
    parking('rank'),
    'coalesce((${at} ->> 0)::int8, ${meta}.stamp)',
    '${meta}.stamp',
  ),
  fault(
    'a table goes on ranking as before when its rule is another',
    'the rule becomes another',
    'libs/store/src/tracking.ts',
    "await client.query('UPDATE p2p.tracked_table SET oldest_first = $2 WHERE id = $1', [id, shape.oldestFirst]);",
    '',
  ),
  {
    name: 'contested keys stay as they are when the rule is another',
    shows: 'the rule becomes another',
    slips: [
      { file: 'libs/store/src/apply/follow-rules.ts', words: 'await settlement.takeAll();', instead: '' },
      {
        file: 'libs/store/src/apply/follow-rules.ts',
        words: '`m.siblings IS NOT NULL${',
        instead: '`m.siblings IS NOT NULL AND NOT m.deleted${',
      },
    ],
  },
  fault(
    'a standing row keeps its key against newer ones',
    'two nodes take one key',
    parking('key-claims'),
    'for (const key of keys) await lift.lift(...lower(lift, key, without));',
    '',
  ),
  {
    name: 'a partial index is taken for one of all rows',
    shows: 'rows that a partial index is not about',
    slips: [
      {
        file: parking('key-claims'),
        words: 'key.predicate === null ? others : `CASE WHEN ${others} THEN ${key.predicate} END`',
        instead: 'others',
      },
      { file: parking('key-claims'), words: "${key.predicate ?? 'true'} AND", instead: 'true AND' },
    ],
  },
  fault(
    'NULLs are never equal',
    'a key of which NULLs are equal',
    parking('key-claims'),
    "const there = key.nullsEqual ? 'true' :",
    'const there =',
  ),
  fault(
    'the key of a partition is a key of the whole table',
    'a key of one partition',
    parking('constraints'),
    'CASE WHEN t.taken IS NULL THEN pg_get_expr(x.indpred, x.indrelid)',
    'CASE WHEN true THEN pg_get_expr(x.indpred, x.indrelid)',
  ),
  fault(
    'deferrable keys are left to PostgreSQL',
    'a deferrable key',
    parking('constraints'),
    '!keys.some((key) => key.table === table && key.deferrable) &&',
    '',
  ),
  fault(
    'rows that change keys among each other are refused',
    'two rows swap their keys',
    parking('lift'),
    "if (state !== '23505' && state !== '23P01') throw error;",
    'if (state) throw error;',
  ),

  fault(
    'a row that is refused keeps what it claimed',
    'a row that a trigger refuses wants a key',
    parking('key-claims'),
    'lost(client, lift, keys, without)',
    'lost(client, lift, keys, [])',
  ),

  // References
  fault(
    'references are not asked about at the end of a window',
    'a parent is deleted here, a child inserted there',
    parking('watch'),
    '...assertReferences(',
    '...[].concat(',
  ),
  fault(
    'references are not asked about at the end of a settlement',
    'a parent is deleted here, a child inserted there',
    parking('settlement'),
    'await this.takeUnmetOut();',
    '',
  ),
  fault(
    'who referred to a row that was taken out stays',
    'a parent is deleted here, a child inserted there',
    parking('settlement'),
    'for (let last = await this.takeUnmet(null); last.size > 0;) last = await this.takeUnmet(last);',
    'await this.takeUnmet(null);',
  ),
  fault(
    'a deletion is not looked at for who referred to it',
    'a deletion meets a child',
    parking('references'),
    '...(among(reference.parent.table) && reference.toPrimaryKey',
    '...(false',
  ),
  fault(
    'a reference to other columns than the primary key is watched as if it were to that',
    'what is referred to is no primary key',
    parking('constraints'),
    '!references.some(({ parent, toPrimaryKey }) => parent.table === table && !toPrimaryKey)',
    'true',
  ),
  fault(
    'MATCH FULL is taken for MATCH SIMPLE',
    'a reference of which half is NULL',
    parking('references'),
    'return full && columns.length > 1 ? `(${missing} OR ${partlyNull(reference, alias)})` : missing;',
    'return missing;',
  ),

  // Waiting
  fault(
    'a settlement stops at the rows of its window',
    'the row that has the key gives it up',
    parking('settlement'),
    'while (await this.takeWaiting());',
    'while (false);',
  ),
  fault(
    'what waits is looked for under another name',
    'the row that has the key gives it up',
    parking('waiting'),
    "'key', jsonb_build_object(${named})",
    "'key', jsonb_build_array(${named})",
  ),
  fault(
    'a row that waits for its parent is asked for its key only by its own',
    'a row that waits for its parent has a key',
    parking('waiting'),
    '...(constraints.keys.some(({ table }) => table === id)',
    '...(constraints.keys.some(({ table }) => table !== table)',
  ),
  fault(
    'equal keys are taken for equal texts',
    'a key that is written in two ways',
    parking('waiting'),
    'return shape?.key.every(({ settled }) => settled) ?? true;',
    'return shape === shape;',
  ),
  fault(
    'what a local write makes possible is not looked at',
    'the row that has the key gives it up, and nobody asks',
    parking('settlement'),
    'this.touched.set(shape.id, keys);',
    '',
  ),
  fault(
    'nobody looks by himself',
    'the row that has the key gives it up, and nobody asks',
    parking('upkeep'),
    'if (!afresh && !(await this.isNews(tables, present))) return noChange;',
    'if (!afresh) return noChange;',
  ),
  fault(
    'the definitions of tables are read once',
    'a constraint goes',
    parking('upkeep'),
    'this.seen?.definitions !== present.definitions',
    'this.seen === null',
  ),

  // Records and versions
  fault(
    'a parked row keeps none of the versions beside its own',
    'a row with several versions is parked',
    parking('record'),
    'ELSE p2p.beside(m.siblings, jsonb_build_object(',
    "ELSE p2p.beside('[]', jsonb_build_object(",
  ),
  fault(
    'a parked row comes back without the versions beside its own',
    'a row with several versions comes back',
    parking('lift'),
    'CASE WHEN p.composed THEN m.siblings ELSE p2p.without(m.siblings, m.stamp, m.origin) END',
    'CASE WHEN p.composed THEN m.siblings END',
  ),
  fault(
    'a parked row loses the stamps of its fields',
    'a row with field stamps is parked',
    parking('record'),
    "|| CASE WHEN m.fields IS NOT NULL THEN jsonb_build_object('fields', m.fields) ELSE '{}' END",
    '',
  ),
  fault(
    'a record stays when its row is written',
    'a parked row is written',
    parking('record'),
    'AND NOT EXISTS (SELECT FROM ${table.meta} AS m WHERE ${isParked(table)})\n     RETURNING',
    'AND false\n     RETURNING',
  ),
  fault(
    "siblings are compared without the key's collation",
    'keys that differ in nothing but case',
    'libs/store/src/apply/soundness.ts',
    "')::${definition} OPERATOR",
    "')::${definition.replace(/ COLLATE .*/, '')} OPERATOR",
  ),
];
