-- Whether the columns of {{name}} are still those whose values its capture function prints: these and no others, of these types.
-- Costs a write nothing, as fits.sql explains.
CREATE OR REPLACE FUNCTION {{prints}}(relation regclass) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $prints$
BEGIN
  PERFORM FROM (SELECT {{columns}} FROM {{relation}} AS d WHERE false AND {{sameTypes}}
    UNION ALL SELECT d.* FROM {{relation}} AS d WHERE false) AS u;
  RETURN true;
EXCEPTION WHEN others THEN RETURN false;
END
$prints$;
