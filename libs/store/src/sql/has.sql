-- Whether {{name}} has the row with this key now.
CREATE OR REPLACE FUNCTION {{has}}({{keyTypes}}) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $has$
BEGIN
  RETURN EXISTS (SELECT FROM {{relation}} AS d WHERE {{dataIsArgument}});
END
$has$;
