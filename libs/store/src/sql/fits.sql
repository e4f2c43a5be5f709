-- Whether {{name}} is still what its capture function names: this very table, with this primary key, of these types.
--
-- Costs a write nothing: IMMUTABLE, so that it is called when a session plans the condition and not again, and called with the
-- table's oid as a constant, so that PostgreSQL makes that plan anew after any ALTER of the table. Names are looked up as they
-- are now, in a REPEATABLE READ transaction too. Grouping by anything but the primary key leaves ctid ungrouped: an error.
CREATE OR REPLACE FUNCTION {{fits}}(relation regclass) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $fits$
BEGIN
  PERFORM d.ctid FROM {{relation}} AS d WHERE false AND {{sameTypes}} GROUP BY {{dataKeys}};
  RETURN $1 = {{relationName}}::regclass;
EXCEPTION WHEN others THEN RETURN false;
END
$fits$;
