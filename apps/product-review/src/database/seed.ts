import type { Pool } from 'pg';
import { Database } from './database';
import type { New } from './tables';

/**
 * A little to look at, put in once: only where all four tables are empty. Gives the number of rows put in.
 *
 * Keys and times are fixed, so that nodes which each seed their own database have the same rows and not three of each.
 */
export async function seed(pool: Pool): Promise<number> {
  return new Database(pool).transaction().execute(async (db) => {
    const { empty } = await db
      .selectNoFrom(({ exists, not, or, selectFrom }) =>
        not(
          or([
            exists(selectFrom('users').select('id')),
            exists(selectFrom('categories').select('id')),
            exists(selectFrom('products').select('id')),
            exists(selectFrom('reviews').select('id')),
          ]),
        ).as('empty'),
      )
      .executeTakeFirstOrThrow();
    if (!empty) return 0;
    // Two processes that both found the tables empty put the same keys in; the later one leaves them as they are.
    const inserts = [
      db.insertInto('users').values(users),
      db.insertInto('categories').values(categories),
      db.insertInto('products').values(products),
      db.insertInto('reviews').values(reviews),
    ];
    let rows = 0;
    for (const insert of inserts) {
      const { numInsertedOrUpdatedRows } = await insert.onConflict((on) => on.doNothing()).executeTakeFirstOrThrow();
      rows += Number(numInsertedOrUpdatedRows);
    }
    return rows;
  });
}

const at = new Date('2025-01-01T00:00:00Z');
const milliseconds = at.getTime().toString(16).padStart(12, '0');

/** What the database would keep, for row `number`: a version 7 key of that moment, numbered. */
const kept = (number: number) => ({
  id: `${milliseconds.slice(0, 8)}-${milliseconds.slice(8)}-7000-8000-${String(number).padStart(12, '0')}`,
  created_at: at,
  updated_at: at,
});

const ada = kept(1);
const grace = kept(2);
const kitchen = kept(3);
const garden = kept(4);
const kettle = kept(5);
const grinder = kept(6);
const trowel = kept(7);

const users: New<'users'>[] = [
  { ...ada, username: 'ada', email: 'ada@example.com', full_name: 'Ada Lovelace' },
  { ...grace, username: 'grace', email: 'grace@example.com', full_name: 'Grace Hopper' },
];
const categories: New<'categories'>[] = [
  { ...kitchen, name: 'Kitchen', description: 'Pots, pans and what goes into them' },
  { ...garden, name: 'Garden', description: 'For digging, growing and sitting' },
];
const products: New<'products'>[] = [
  { ...kettle, name: 'Kettle', description: 'Steel, 1.7 litres', price: '39.90', category_id: kitchen.id },
  { ...grinder, name: 'Coffee grinder', description: 'By hand, 38 mm burrs', price: '84.00', category_id: kitchen.id },
  { ...trowel, name: 'Trowel', description: 'Forged, ash handle', price: '17.50', category_id: garden.id },
];
const reviews: New<'reviews'>[] = [
  { ...kept(8), product_id: kettle.id, user_id: ada.id, rating: 4, title: 'Quick', comment: 'Boils in three minutes.' },
  { ...kept(9), product_id: grinder.id, user_id: grace.id, rating: 5, title: 'Even grounds', comment: null },
  { ...kept(10), product_id: trowel.id, user_id: ada.id, rating: 3, title: null, comment: 'Sturdy, a bit heavy.' },
];
