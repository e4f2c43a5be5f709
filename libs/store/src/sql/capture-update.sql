-- A full join is never a nested loop, whatever size the plan was made for.
  INSERT INTO {{meta}} AS m ({{keys}}, stamp, origin, priority, deleted, xid{{fieldsColumn}})
  SELECT {{keyOfEither}}, now_us, {{origin}}, {{priority}}, n.{{firstKey}} IS NULL, pg_current_xact_id(){{keptFields}}
  FROM old_rows AS o FULL JOIN new_rows AS n ON {{newIsOld}}
  WHERE CASE
    WHEN n.{{firstKey}} IS NULL THEN NOT {{has}}({{keyOfOld}})
    WHEN nested AND NOT {{has}}({{keyOfNew}}) THEN false
    WHEN o.{{firstKey}} IS NULL THEN true
    ELSE o.* *<> n.*
  END
  ON CONFLICT ({{keys}}) DO UPDATE SET {{supersessionByUpdate}};
