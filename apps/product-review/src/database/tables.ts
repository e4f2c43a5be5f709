import type { ColumnType, Generated, Insertable, Selectable, Updateable } from 'kysely';

/** Kept by the database; only the sample data sets them. */
type Kept = ColumnType<Date, Date | undefined, never>;

interface Row {
  id: Generated<string>;
  created_at: Kept;
  updated_at: Kept;
}

interface Users extends Row {
  username: string;
  email: string;
  full_name: string | null;
}

interface Categories extends Row {
  name: string;
  description: string | null;
}

interface Products extends Row {
  name: string;
  description: string | null;
  /** numeric(14,2): a string, so that no amount passes through a float. */
  price: string | null;
  category_id: string | null;
}

interface Reviews extends Row {
  product_id: string;
  user_id: string;
  rating: number;
  title: string | null;
  comment: string | null;
}

export interface Tables {
  users: Users;
  categories: Categories;
  products: Products;
  reviews: Reviews;
}

export type Stored<Table extends keyof Tables> = Selectable<Tables[Table]>;
export type New<Table extends keyof Tables> = Insertable<Tables[Table]>;
export type Changes<Table extends keyof Tables> = Updateable<Tables[Table]>;
