-- A trading company's database, for two sites that both write to it: 39 tables in three schemas. All that PostgreSQL offers a
-- designer is in use somewhere; what is not there is a second unique key, over which two sites would have to agree beforehand.

CREATE SCHEMA crm;
CREATE SCHEMA sales;
CREATE SCHEMA "Ops";

CREATE TYPE crm.purpose AS ENUM ('newsletter', 'profiling', 'Third "parties"', '');
CREATE TYPE crm."Level" AS ENUM ('none', 'silver', 'gold');
CREATE TYPE crm.postal AS (street text, house varchar(10), city text, lines text[], since date);
CREATE DOMAIN crm.email AS text CHECK (value LIKE '%_@_%');
CREATE TYPE sales.state AS ENUM ('draft', 'placed', 'paid', 'shipped', 'cancelled');
CREATE TYPE sales.method AS ENUM ('card', 'cash', 'transfer');
CREATE TYPE sales.dimensions AS (width numeric(8, 2), height numeric(8, 2), depth numeric(8, 2));
CREATE DOMAIN sales.quantity AS integer NOT NULL CHECK (value BETWEEN 0 AND 1000000);
CREATE DOMAIN sales.sku AS varchar(20) CHECK (value ~ '^[A-Z0-9-]*$');
CREATE TYPE "Ops".temperatures AS RANGE (subtype = float8, subtype_diff = float8mi);

CREATE FUNCTION "Ops".touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := clock_timestamp();
  RETURN NEW;
END
$$;

-- Customers ----------------------------------------------------------------------------------------------------------

CREATE TABLE crm.customer_groups (
  code       text PRIMARY KEY,
  title      text NOT NULL,
  discount   numeric,
  rules      jsonb,
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE crm.customers (
  id          uuid PRIMARY KEY,
  group_code  text REFERENCES crm.customer_groups ON UPDATE CASCADE ON DELETE SET NULL,
  name        text NOT NULL,
  email       crm.email,
  home        crm.postal,
  earlier     crm.postal[],
  born        date,
  tags        text[] NOT NULL DEFAULT '{}',
  score       numeric,
  preferences jsonb NOT NULL DEFAULT '{}',
  search      tsvector GENERATED ALWAYS AS (to_tsvector('simple', name)) STORED,
  updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE crm."Address Book" (
  customer_id uuid REFERENCES crm.customers ON UPDATE CASCADE ON DELETE CASCADE,
  "Nr"        integer,
  "Street ""&"" No" text,
  address     crm.postal,
  position    point,
  PRIMARY KEY (customer_id, "Nr")
);

CREATE TABLE crm.contacts (
  id          uuid PRIMARY KEY,
  customer_id uuid REFERENCES crm.customers ON UPDATE CASCADE ON DELETE SET NULL,
  phones      text[],
  mails       crm.email[],
  last_seen   inet,
  networks    cidr[],
  at          time,
  zoned       timetz
);

-- Nothing but its key.
CREATE TABLE crm.group_members (
  group_code  text REFERENCES crm.customer_groups ON UPDATE CASCADE ON DELETE CASCADE,
  customer_id uuid REFERENCES crm.customers ON UPDATE CASCADE ON DELETE CASCADE,
  PRIMARY KEY (group_code, customer_id)
);

CREATE TABLE crm.notes (
  id          uuid PRIMARY KEY,
  customer_id uuid NOT NULL REFERENCES crm.customers ON UPDATE CASCADE ON DELETE CASCADE,
  body        text NOT NULL,
  attachment  bytea,
  written_at  timestamp
);

CREATE TABLE crm.consents (
  customer_id uuid REFERENCES crm.customers ON UPDATE CASCADE ON DELETE CASCADE,
  purpose     crm.purpose,
  given       boolean,
  valid       tstzrange,
  PRIMARY KEY (customer_id, purpose)
);

CREATE TABLE crm.loyalty_accounts (
  customer_id uuid PRIMARY KEY REFERENCES crm.customers ON UPDATE CASCADE ON DELETE CASCADE,
  level       crm."Level" NOT NULL DEFAULT 'none',
  history     crm."Level"[],
  points      bigint NOT NULL DEFAULT 0,
  value       money,
  worth       bigint GENERATED ALWAYS AS (points % 1000 * 3) STORED
);

-- Products and orders ------------------------------------------------------------------------------------------------

CREATE TABLE sales.currencies (
  code   char(3) PRIMARY KEY,
  symbol "char",
  rate   double precision,
  name   varchar(40)
);

CREATE TABLE sales.categories (
  path   text COLLATE "C" PRIMARY KEY,
  parent text COLLATE "C" REFERENCES sales.categories ON UPDATE CASCADE ON DELETE SET NULL,
  names  json
);

CREATE TABLE sales.products (
  id         uuid PRIMARY KEY,
  category   text COLLATE "C" REFERENCES sales.categories ON UPDATE CASCADE ON DELETE SET NULL,
  name       text NOT NULL,
  sku        sales.sku,
  skus       sales.sku[],
  size       sales.dimensions,
  attributes jsonb,
  datasheet  xml,
  sold       daterange,
  pauses     datemultirange,
  cost       numeric(12, 3),
  margin     numeric(12, 3),
  price      numeric GENERATED ALWAYS AS (cost + margin) STORED,
  words      tsvector,
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sales."productVariants" (
  product_id uuid REFERENCES sales.products ON UPDATE CASCADE ON DELETE CASCADE,
  "variantNo" smallint,
  "colourName" text,
  weight     real,
  outline    polygon,
  PRIMARY KEY (product_id, "variantNo")
);

CREATE TABLE sales.price_lists (
  code     text PRIMARY KEY,
  currency char(3) NOT NULL REFERENCES sales.currencies,
  valid    daterange,
  bands    nummultirange,
  notes    text
);

CREATE TABLE sales.prices (
  price_list text REFERENCES sales.price_lists ON UPDATE CASCADE ON DELETE CASCADE,
  product_id uuid,
  variant_no smallint,
  since      date,
  price      numeric NOT NULL,
  steps      int4range[],
  PRIMARY KEY (price_list, product_id, variant_no, since),
  FOREIGN KEY (product_id, variant_no) REFERENCES sales."productVariants" ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE sales.suppliers (
  id       uuid PRIMARY KEY,
  name     name,
  replaces uuid REFERENCES sales.suppliers ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
  contract bytea,
  terms    interval,
  site     macaddr8
);

CREATE TABLE sales.product_suppliers (
  product_id  uuid REFERENCES sales.products ON UPDATE CASCADE ON DELETE CASCADE,
  supplier_id uuid REFERENCES sales.suppliers ON UPDATE CASCADE ON DELETE CASCADE,
  rank        smallint,
  PRIMARY KEY (supplier_id, product_id)
);

-- The key's columns stand in another order than the table's, and a column is gone.
CREATE TABLE sales.orders (
  remark      text,
  discarded   text,
  placed_on   date,
  id          uuid,
  customer_id uuid NOT NULL REFERENCES crm.customers ON UPDATE CASCADE ON DELETE CASCADE,
  state       sales.state NOT NULL DEFAULT 'draft',
  total       numeric NOT NULL DEFAULT 0,
  extra       jsonb,
  updated_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id, placed_on)
) PARTITION BY RANGE (placed_on);
ALTER TABLE sales.orders DROP COLUMN discarded;
CREATE TABLE sales.orders_2023 PARTITION OF sales.orders FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE sales.orders_2024 PARTITION OF sales.orders FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY RANGE (placed_on);
CREATE TABLE sales.orders_2024_spring PARTITION OF sales.orders_2024 FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
CREATE TABLE sales.orders_2024_autumn PARTITION OF sales.orders_2024 FOR VALUES FROM ('2024-07-01') TO ('2025-01-01');
CREATE TABLE sales.orders_rest PARTITION OF sales.orders DEFAULT;

CREATE TABLE sales.order_lines (
  order_id   uuid,
  placed_on  date,
  line_no    integer,
  product_id uuid,
  variant_no smallint,
  quantity   sales.quantity DEFAULT 1,
  price      numeric(14, 4) NOT NULL,
  amount     numeric GENERATED ALWAYS AS (quantity * price) STORED,
  options    jsonb[],
  PRIMARY KEY (order_id, placed_on, line_no),
  FOREIGN KEY (order_id, placed_on) REFERENCES sales.orders ON UPDATE CASCADE ON DELETE CASCADE,
  FOREIGN KEY (product_id, variant_no) REFERENCES sales."productVariants" ON UPDATE CASCADE ON DELETE SET NULL
) PARTITION BY HASH (order_id);
CREATE TABLE sales.order_lines_0 PARTITION OF sales.order_lines FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE sales.order_lines_1 PARTITION OF sales.order_lines FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE sales.order_lines_2 PARTITION OF sales.order_lines FOR VALUES WITH (MODULUS 3, REMAINDER 2);

-- A write in a row trigger: the sum of an order follows its lines.
CREATE FUNCTION sales.sum_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  line sales.order_lines := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
  UPDATE sales.orders AS o SET total = (SELECT coalesce(sum(l.amount), 0) FROM sales.order_lines AS l
    WHERE l.order_id = o.id AND l.placed_on = o.placed_on)
  WHERE o.id = line.order_id AND o.placed_on = line.placed_on;
  RETURN NULL;
END
$$;
CREATE TRIGGER sum_up AFTER INSERT OR DELETE OR UPDATE OF quantity, price ON sales.order_lines
  FOR EACH ROW EXECUTE FUNCTION sales.sum_up();

CREATE TABLE sales.invoices (
  id         uuid PRIMARY KEY,
  number     bigint GENERATED ALWAYS AS IDENTITY,
  order_id   uuid,
  placed_on  date,
  net        numeric(12, 2) NOT NULL,
  tax        numeric(12, 2) NOT NULL DEFAULT 0,
  gross      numeric(12, 2) GENERATED ALWAYS AS (net + tax) STORED,
  due        date,
  address    crm.postal,
  updated_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (order_id, placed_on) REFERENCES sales.orders ON UPDATE CASCADE ON DELETE SET NULL
);

CREATE TABLE sales.payments (
  id         uuid PRIMARY KEY,
  invoice_id uuid NOT NULL REFERENCES sales.invoices ON UPDATE CASCADE ON DELETE CASCADE,
  method     sales.method,
  amount     money NOT NULL,
  paid_at    timestamptz,
  receipt    json
);

CREATE TABLE sales.shipments (
  carrier   text CHECK (carrier IN ('post', 'rail', 'ship')),
  tracking  text,
  order_id  uuid,
  placed_on date,
  legs      interval[],
  weights   numeric[],
  route     path,
  PRIMARY KEY (carrier, tracking),
  FOREIGN KEY (order_id, placed_on) REFERENCES sales.orders ON UPDATE CASCADE ON DELETE SET NULL
) PARTITION BY LIST (carrier);
CREATE TABLE sales.shipments_post PARTITION OF sales.shipments FOR VALUES IN ('post');
CREATE TABLE sales."shipments Rest" PARTITION OF sales.shipments DEFAULT;

CREATE TABLE sales.returns (
  id        uuid PRIMARY KEY,
  order_id  uuid,
  placed_on date,
  line_no   integer,
  reason    text,
  photos    bytea[],
  FOREIGN KEY (order_id, placed_on, line_no) REFERENCES sales.order_lines ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE sales.promotions (
  code   text PRIMARY KEY,
  runs   tstzrange,
  hours  tstzmultirange,
  days   integer[],
  grid   integer[][],
  query  tsquery,
  active boolean
);

CREATE TABLE sales.order_promotions (
  order_id  uuid,
  placed_on date,
  promotion text REFERENCES sales.promotions ON UPDATE CASCADE ON DELETE CASCADE,
  saved     numeric,
  PRIMARY KEY (promotion, order_id, placed_on),
  FOREIGN KEY (order_id, placed_on) REFERENCES sales.orders ON UPDATE CASCADE ON DELETE CASCADE
);

-- Inside the house ---------------------------------------------------------------------------------------------------

CREATE TABLE "Ops".departments (
  code       text PRIMARY KEY,
  head       uuid,
  budget     numeric,
  floors     int4multirange,
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE "Ops".employees (
  id         uuid PRIMARY KEY,
  department text NOT NULL REFERENCES "Ops".departments ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
  manager    uuid REFERENCES "Ops".employees ON UPDATE CASCADE ON DELETE SET NULL,
  name       text NOT NULL,
  salary     money,
  skills     text[],
  hours      interval,
  badge      bit(12),
  rights     bit varying(40),
  updated_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE "Ops".departments ADD FOREIGN KEY (head) REFERENCES "Ops".employees
  ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE "Ops"."Time Sheets" (
  employee uuid REFERENCES "Ops".employees ON UPDATE CASCADE ON DELETE CASCADE,
  day      date,
  worked   interval,
  spans    tsrange[],
  week     bit(7),
  "order"  text,
  PRIMARY KEY (day, employee)
);

CREATE TABLE "Ops".warehouses (
  code     text PRIMARY KEY,
  position point,
  area     polygon,
  zone     circle,
  network  cidr,
  opens    timetz
);

CREATE TABLE "Ops".stock (
  warehouse  text REFERENCES "Ops".warehouses ON UPDATE CASCADE ON DELETE CASCADE,
  product_id uuid,
  variant_no smallint,
  quantity   integer NOT NULL DEFAULT 0,
  reserved   integer NOT NULL DEFAULT 0,
  free       integer GENERATED ALWAYS AS (quantity % 1000 - reserved % 1000) STORED,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (warehouse, product_id, variant_no),
  FOREIGN KEY (product_id, variant_no) REFERENCES sales."productVariants" ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE "Ops".stock_movements (
  id         bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  warehouse  text REFERENCES "Ops".warehouses,
  product_id uuid REFERENCES sales.products,
  quantity   integer,
  at         timestamptz DEFAULT clock_timestamp(),
  by         text DEFAULT current_user
);

CREATE TABLE "Ops".documents (
  id       uuid PRIMARY KEY,
  owner    uuid REFERENCES "Ops".employees ON UPDATE CASCADE ON DELETE SET NULL,
  title    text,
  body     text,
  scan     bytea,
  pages    text[],
  checksum text GENERATED ALWAYS AS (md5(body)) STORED,
  search   tsvector GENERATED ALWAYS AS (to_tsvector('english', coalesce(title, ''))) STORED
);
ALTER TABLE "Ops".documents ALTER COLUMN scan SET STORAGE EXTERNAL;

CREATE TABLE "Ops".sensors (
  address macaddr PRIMARY KEY,
  kind    text,
  bounds  "Ops".temperatures,
  bands   "Ops".temperatures[],
  config  jsonb,
  spot    box
);

CREATE TABLE "Ops".readings (
  sensor macaddr REFERENCES "Ops".sensors,
  at     timestamptz,
  "values" float8[],
  raw    bytea,
  ok     boolean,
  lsn    pg_lsn,
  PRIMARY KEY (sensor, at)
);

CREATE TABLE "Ops".settings (
  "Key"      text PRIMARY KEY,
  value      jsonb,
  text       json,
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE "Ops".tickets (
  name   text PRIMARY KEY,
  number integer GENERATED ALWAYS AS IDENTITY,
  text   text
);

CREATE TABLE "Ops".flags (name varchar(30) PRIMARY KEY);

-- Its keys 1.0 and 1.00 are the same key in other bytes.
CREATE TABLE "Ops".rates (
  level numeric PRIMARY KEY,
  rate  numeric,
  text  text
);

CREATE TABLE "Ops".counters (
  name text,
  slot integer,
  n    bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (slot, name)
);

CREATE TABLE "Ops"."Every Type" (
  id uuid PRIMARY KEY,
  a bool, b "char", c name, d int2, e int4, f int8, g oid, h float4, i float8, j numeric, k money, l text, m varchar, n char(6),
  o json, p jsonb, q jsonpath, r xml, s bytea, t date, u time, v timetz, w timestamp, x timestamptz, y interval, z bit(3),
  aa varbit, ab uuid, ac inet, ad cidr, ae macaddr, af macaddr8, ag point, ah line, ai lseg, aj box, ak path, al polygon,
  am circle, an tsvector, ao tsquery, ap pg_lsn, aq int4range, ar int8range, "as" numrange, at tsrange, au tstzrange,
  av daterange, aw int4multirange, ax int8multirange, ay nummultirange, az tsmultirange, ba tstzmultirange,
  bb datemultirange, bc int4[], bd text[], be jsonb[], bf numeric[], bg timestamptz[], bh bytea[], bi crm.purpose[],
  bj crm.postal[], bk box[], bl "Ops".temperatures, bm crm.email, bn xid8, bo pg_snapshot, bp xml[], bq uuid[]
);

CREATE TABLE "Ops".audit (
  id      bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  "table" text NOT NULL,
  action  text NOT NULL,
  before  jsonb,
  after   jsonb
);

CREATE TABLE "Ops".scratch (
  name text PRIMARY KEY,
  note text
);

CREATE FUNCTION "Ops".log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO "Ops".audit ("table", action, before, after) VALUES (TG_TABLE_NAME, TG_OP, to_jsonb(OLD), to_jsonb(NEW));
  RETURN NULL;
END
$$;

CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON sales.payments FOR EACH ROW EXECUTE FUNCTION "Ops".log();
CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON crm.loyalty_accounts FOR EACH ROW EXECUTE FUNCTION "Ops".log();
CREATE TRIGGER log AFTER UPDATE ON sales.invoices FOR EACH ROW EXECUTE FUNCTION "Ops".log();

CREATE TRIGGER touch BEFORE UPDATE ON crm.customer_groups FOR EACH ROW EXECUTE FUNCTION "Ops".touch();
CREATE TRIGGER touch BEFORE UPDATE ON crm.customers FOR EACH ROW EXECUTE FUNCTION "Ops".touch();
CREATE TRIGGER touch BEFORE UPDATE ON sales.products FOR EACH ROW EXECUTE FUNCTION "Ops".touch();
CREATE TRIGGER touch BEFORE UPDATE ON sales.orders FOR EACH ROW EXECUTE FUNCTION "Ops".touch();
CREATE TRIGGER touch BEFORE UPDATE ON sales.invoices FOR EACH ROW EXECUTE FUNCTION "Ops".touch();
CREATE TRIGGER touch BEFORE UPDATE ON "Ops".departments FOR EACH ROW EXECUTE FUNCTION "Ops".touch();
CREATE TRIGGER touch BEFORE UPDATE ON "Ops".employees FOR EACH ROW EXECUTE FUNCTION "Ops".touch();
CREATE TRIGGER touch BEFORE UPDATE ON "Ops".stock FOR EACH ROW EXECUTE FUNCTION "Ops".touch();
CREATE TRIGGER touch BEFORE UPDATE ON "Ops".settings FOR EACH ROW EXECUTE FUNCTION "Ops".touch();
