// @ts-check
import { createHash } from 'node:crypto';

/**
 * The table that is replicated. A row is named by its batch and number: its key is their md5, so that keys fall at
 * random as real ones do, and every process can name a row without asking a database. `counter` tells how far a row is.
 * @param {string} name
 */
export const createTable = (name) => `
  CREATE TABLE ${name} (
    id         uuid PRIMARY KEY,
    note       text NOT NULL,
    amount     numeric(12,2) NOT NULL,
    counter    integer NOT NULL,
    changed_at timestamptz NOT NULL
  )`;

/** One statement that inserts the rows 1…$1 of a batch. @param {string} table @param {string} batch @param {number} counter */
export const insertBatch = (table, batch, counter) => `
  INSERT INTO ${table}
  SELECT md5('${batch}:' || i)::uuid, 'row ' || i || ' of ${batch} ' || md5(i::text) || left(md5(i::text || 'x'), 28),
         i % 100000 + 0.25, ${counter}, clock_timestamp()
    FROM generate_series(1, $1::integer) i`;

/** One statement that updates all rows whose counter is `from` or more. @param {string} table @param {number} from @param {number} step */
export const updateFrom = (table, from, step) => `
  UPDATE ${table} SET amount = amount + 1, counter = counter + ${step}, changed_at = clock_timestamp()
   WHERE counter >= ${from}`;

/** @param {string} table @param {number} from */
export const deleteFrom = (table, from) => `DELETE FROM ${table} WHERE counter >= ${from}`;

/** @param {string} table */
export const updateOne = (table) =>
  `UPDATE ${table} SET amount = amount + 1, counter = counter + 1, changed_at = clock_timestamp() WHERE id = $1`;

/** @param {string} table */
export const insertOne = (table) =>
  `INSERT INTO ${table} VALUES ($1, 'one row, inserted alone, ' || md5($1::uuid::text) || left(md5($1::uuid::text || 'x'), 28), 1.25, 0, clock_timestamp())`;

/** @param {string} table */
export const deleteOne = (table) => `DELETE FROM ${table} WHERE id = $1`;

/** The key of a row. @param {string} batch @param {number} number */
export const keyOf = (batch, number) =>
  createHash('md5')
    .update(`${batch}:${number}`)
    .digest('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');

/** Keys spread over a batch from its first row to its last. @param {string} batch @param {number} rows */
export function spreadKeys(batch, rows, count = 64) {
  const numbers = Array.from({ length: count }, (_, i) => 1 + Math.round((i * (rows - 1)) / (count - 1)));
  return [...new Set(numbers)].map((number) => keyOf(batch, number));
}

/** A table's content in one number that does not depend on the order of its rows. @param {string} table */
export const digest = (table) =>
  `SELECT count(*) || ' rows, digest ' || coalesce(sum(hashtextextended(t::text, 0)), 0) AS digest FROM ${table} t`;
