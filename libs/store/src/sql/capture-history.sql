-- Keeps what was written with the versions that it has just been given, as it stands in the table now. Every row is looked up
-- by its key: a join would keep the plan that was made for the first statement, of whatever size that was.
-- A table whose columns were altered since is printed by the names that they have now (read from the table itself: naming it is
-- what makes PostgreSQL plan anew after an ALTER). Whatever else may then go wrong, the
-- user's write does not: the node looks after it when it makes this function anew.
IF {{prints}}('{{oid}}'::regclass) THEN
  IF TG_OP = 'UPDATE' THEN
    {{updated}}
  ELSIF TG_OP = 'INSERT' THEN
    {{inserted}}
  ELSIF TG_OP = 'DELETE' THEN
    {{deleted}}
  ELSE
    {{truncated}}
  END IF;
ELSE
  BEGIN
    EXECUTE replace(replace({{anything}}, '/*source*/', CASE TG_OP
      WHEN 'UPDATE' THEN {{sourceOfUpdate}} WHEN 'INSERT' THEN {{sourceOfInsert}} WHEN 'DELETE' THEN {{sourceOfDelete}} ELSE {{sourceOfTruncate}} END),
      '/*image*/', (SELECT format('jsonb_object(ARRAY[%s]::text[], ARRAY[%s]::text[])', string_agg(quote_literal(c), ', '),
        string_agg(format('CASE WHEN d.%1$I IS DISTINCT FROM NULL THEN concat(d.%1$I) END', c), ', '))
      FROM jsonb_object_keys((SELECT to_jsonb(r) FROM (SELECT d.* FROM (SELECT) AS one LEFT JOIN {{relation}} AS d ON false) AS r)) AS c));
  EXCEPTION WHEN others THEN
    RAISE LOG 'pgmesh: the history lacks a write to %, whose columns have just been altered: %', {{relationName}}, SQLERRM;
  END;
END IF;
