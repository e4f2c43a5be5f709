import { Problem } from '@pgmesh/wire';
import type { PoolClient } from 'pg';
import { cannotRead, Unreadable } from '../apply/unreadable';
import { type Stage, versionNames } from '../apply/stage';
import type { Column } from '../table-shape';
import { typed } from '../typed-text';
import type { Lift } from './lift';

/**
 * A stage that can be read, of one that cannot: rows with values that their types do not take here become what a parked row is on the wire, a
 * set of versions beside which the table has nothing. They are found by halving, so that each costs as many tries as the stage can be halved.
 * @throws Unreadable where that is a key: there is nothing that its version could be kept by
 */
export async function sift(client: PoolClient, lift: Lift, stage: Stage): Promise<Stage> {
  const { shape, columns, count } = stage;
  const { source, lengths } = stage.texts();
  const table = await lift.textTable();
  if (lengths !== null) {
    const { rows } = await client.query<{ told: number[] }>(`SELECT ${lengths} AS told`, [...stage.literals]);
    if (rows[0]!.told.some((length) => length !== count)) throw incomplete(stage);
  }
  await client.query(
    `INSERT INTO ${table} (${[...versionNames, 'c'].join(', ')})
     SELECT ${versionNames.map((name) => `s.${name}`).join(', ')}, ARRAY[${columns.map((_, i) => `s.c${i + 1}`).join(', ')}] FROM (${source}) AS s`,
    [...stage.literals],
  );
  const value = ({ base: type }: Column, i: number) => typed({ type }, `t.c[${i + 1}]`);
  const put = `INSERT INTO ${lift.gone} (${columns.map(({ ident }) => ident).join(', ')})
    SELECT ${columns.map(value).join(', ')} FROM ${table} AS t WHERE NOT t.v7`;
  const undo = 'ROLLBACK TO SAVEPOINT sift; RELEASE SAVEPOINT sift';
  const tryRows = async (first: number, last: number): Promise<boolean> => {
    try {
      await client.query(`SAVEPOINT sift; ${put} AND t.n BETWEEN ${first} AND ${last}; ${undo}`);
      return true;
    } catch (error) {
      if (!cannotRead(error, shape)) throw error;
      await client.query(undo);
      return false;
    }
  };
  const unread: number[] = [];
  const halve = async (first: number, last: number): Promise<void> => {
    if (await tryRows(first, last)) return;
    if (first === last) {
      unread.push(first);
      return;
    }
    const middle = Math.floor((first + last) / 2);
    await halve(first, middle);
    await halve(middle + 1, last);
  };
  if (count > 0) await halve(1, count);
  await client.query(
    `UPDATE ${table} AS t SET v5 = NULL, v6 = ${keptVersions(columns)}, v7 = true, c = t.c[1:${shape.key.length}] WHERE t.n = ANY ($1::int4[])`,
    [unread],
  );
  const read = columns.map((column, i) => `${value(column, i)} AS c${i + 1}`);
  const readable = `SELECT ${versionNames.map((name) => `t.${name}`).join(', ')}, ${read.join(', ')} FROM ${table} AS t`;
  await assertKeys(client, stage, readable);
  return { shape, columns, count, deleted: count, source: readable, texts: stage.texts, lengths: null, literals: [] };
}

/** The set with the row's own version in it, which a composed row has there already: the row is composed anew. */
function keptVersions(columns: readonly Column[]): string {
  const names = columns.map(({ name }) => `'${name.replace(/'/g, "''")}'`).join(', ');
  return `CASE WHEN EXISTS (SELECT FROM jsonb_array_elements(t.v6) AS s (version)
      WHERE (s.version ->> 'stamp')::int8 = t.v1 AND s.version ->> 'origin' = t.v2) THEN t.v6
    ELSE p2p.beside(t.v6, jsonb_build_object('stamp', t.v1, 'origin', t.v2, 'priority', t.v3, 'past', t.v4, 'deleted', false,
      'image', jsonb_object(ARRAY[${names}]::text[], t.c)) || CASE WHEN t.v5 IS NOT NULL THEN jsonb_build_object('fields', t.v5) ELSE '{}' END) END`;
}

async function assertKeys(client: PoolClient, { shape }: Stage, source: string): Promise<void> {
  const keys = shape.key.map((_, i) => `count(s.c${i + 1})`);
  try {
    await client.query(`SELECT ${keys.join(', ')} FROM (${source}) AS s`);
  } catch (error) {
    throw cannotRead(error, shape) ? new Unreadable(shape.name, error as Error, 'key') : error;
  }
}

function incomplete({ shape, count }: Stage): Problem {
  const text = `The window announces ${count} rows of ${shape.name} and has others. Nothing of it was applied.`;
  return new Problem('bad_request', text, { table: shape.name });
}
