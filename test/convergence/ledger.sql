-- The test's own book of what was committed: every key that came into a table or left it by a write of this site. It has no
-- primary key, so that `--tables '*'` leaves it alone; its triggers are ordinary ones, which an apply does not fire.
CREATE SCHEMA test;
CREATE TABLE test.ledger (name text NOT NULL, key text NOT NULL, live boolean NOT NULL);

-- The key of a row as text, the same for numbers that are equal.
CREATE FUNCTION test.key_of(image jsonb, VARIADIC columns text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT string_agg(CASE jsonb_typeof(image -> c.name) WHEN 'number' THEN trim_scale((image ->> c.name)::numeric)::text
    ELSE image ->> c.name END, ' | ' ORDER BY c.i) FROM unnest(columns) WITH ORDINALITY AS c (name, i)
$$;

CREATE FUNCTION test.note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before constant text := CASE WHEN TG_OP <> 'INSERT' THEN test.key_of(to_jsonb(OLD), VARIADIC TG_ARGV[1:]) END;
  after  constant text := CASE WHEN TG_OP <> 'DELETE' THEN test.key_of(to_jsonb(NEW), VARIADIC TG_ARGV[1:]) END;
BEGIN
  INSERT INTO test.ledger SELECT TG_ARGV[0], v.key, v.live FROM (VALUES (before, false), (after, true)) AS v (key, live)
  WHERE v.key IS NOT NULL AND before IS DISTINCT FROM after;
  RETURN NULL;
END
$$;

-- TRUNCATE takes rows without a word about each.
CREATE FUNCTION test.note_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('INSERT INTO test.ledger SELECT %L, test.key_of(to_jsonb(d.*), VARIADIC $1), false FROM %s AS d', TG_ARGV[0], TG_ARGV[0])
  USING TG_ARGV[1:];
  RETURN NULL;
END
$$;

DO $$
DECLARE
  shared record;
BEGIN
  FOR shared IN
    SELECT c.oid::regclass AS relation, string_agg(quote_literal(a.attname), ', ' ORDER BY k.i) AS key
    FROM pg_class AS c JOIN pg_index AS x ON x.indrelid = c.oid AND x.indisprimary, unnest(x.indkey::int2[]) WITH ORDINALITY AS k (n, i)
      JOIN pg_attribute AS a ON a.attnum = k.n
    WHERE a.attrelid = c.oid AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace IN ('crm'::regnamespace, 'sales'::regnamespace, '"Ops"'::regnamespace)
    GROUP BY c.oid
  LOOP
    EXECUTE format('CREATE TRIGGER zz_note AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION test.note(%L, %s)',
      shared.relation, shared.relation, shared.key);
    EXECUTE format('CREATE TRIGGER zz_note_all BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION test.note_all(%L, %s)',
      shared.relation, shared.relation, shared.key);
  END LOOP;
END
$$;
