-- Field stamps name the table's columns. From an ALTER until the node has made this function anew, a write counts as one of every field.
  IF {{prints}}('{{oid}}'::regclass) THEN
  {{updateWithFields}}
  ELSE
  {{update}}
  END IF;
