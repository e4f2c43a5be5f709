-- Capture for {{name}}: one set-based statement per write, after it, on what the transition tables hold.
--
-- A version's stamp is the clock or the row's former stamp plus one, read under the row's lock (traps 4, 5). Rows whose image
-- did not change are left alone (trap 20). A key that left the transition tables is a tombstone only if the table really lacks
-- it: a statement can be followed by others, run by a user's row triggers, before this trigger fires. For the same reason a
-- live row is looked up again in a transaction in which such nesting was seen ("nested").
-- Suppressed only by the id of the very transaction that applies a window (trap 31).
--
-- A table that was renamed, or whose key was, is no longer what the statements below name: they would fail, and the user's write
-- with them. What is written until the node has made this function anew is put aside as images, and given its versions then.
CREATE OR REPLACE FUNCTION {{capture}}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $capture$
#variable_conflict use_variable
DECLARE
  here constant text := pg_current_xact_id()::text;
  mode text := current_setting('p2p.mode', true);
  now_us constant bigint := p2p.clock();
BEGIN
  IF mode = here || ' apply' THEN RETURN NULL; END IF;
  IF NOT {{fits}}('{{oid}}'::regclass) THEN
    CASE TG_OP
    WHEN 'UPDATE' THEN
      INSERT INTO p2p.unversioned (table_id, image)
      SELECT {{id}}, to_jsonb(o) FROM old_rows AS o UNION ALL SELECT {{id}}, to_jsonb(n) FROM new_rows AS n;
    WHEN 'INSERT' THEN INSERT INTO p2p.unversioned (table_id, image) SELECT {{id}}, to_jsonb(n) FROM new_rows AS n;
    WHEN 'DELETE' THEN INSERT INTO p2p.unversioned (table_id, image) SELECT {{id}}, to_jsonb(o) FROM old_rows AS o;
    WHEN 'TRUNCATE' THEN INSERT INTO p2p.sweep (table_id) VALUES ({{id}});
    END CASE;
    RETURN NULL;
  END IF;
  IF pg_trigger_depth() > 1 AND mode IS DISTINCT FROM here || ' nested' THEN
    mode := set_config('p2p.mode', here || ' nested', true);
  END IF;

  CASE TG_OP
  WHEN 'UPDATE' THEN
    -- A full join is never a nested loop, whatever size the plan was made for.
    INSERT INTO {{meta}} AS m ({{keys}}, stamp, origin, priority, deleted, xid)
    SELECT {{keyOfEither}}, now_us, {{origin}}, {{priority}}, n.{{firstKey}} IS NULL, pg_current_xact_id()
    FROM old_rows AS o FULL JOIN new_rows AS n ON {{newIsOld}}
    WHERE CASE
      WHEN n.{{firstKey}} IS NULL THEN NOT EXISTS (SELECT FROM {{relation}} AS d WHERE {{dataIsOld}})
      WHEN mode = here || ' nested' AND NOT EXISTS (SELECT FROM {{relation}} AS d WHERE {{dataIsNew}}) THEN false
      WHEN o.{{firstKey}} IS NULL THEN true
      ELSE o.* *<> n.*
    END
    ON CONFLICT ({{keys}}) DO UPDATE SET {{supersession}};
  WHEN 'INSERT' THEN
    INSERT INTO {{meta}} AS m ({{keys}}, stamp, origin, priority, deleted, xid)
    SELECT {{keyOfNew}}, now_us, {{origin}}, {{priority}}, false, pg_current_xact_id()
    FROM new_rows AS n
    WHERE mode IS DISTINCT FROM here || ' nested' OR EXISTS (SELECT FROM {{relation}} AS d WHERE {{dataIsNew}})
    ON CONFLICT ({{keys}}) DO UPDATE SET {{supersession}};
  WHEN 'DELETE' THEN
    INSERT INTO {{meta}} AS m ({{keys}}, stamp, origin, priority, deleted, xid)
    SELECT {{keyOfOld}}, now_us, {{origin}}, {{priority}}, true, pg_current_xact_id()
    FROM old_rows AS o
    WHERE NOT EXISTS (SELECT FROM {{relation}} AS d WHERE {{dataIsOld}})
    ON CONFLICT ({{keys}}) DO UPDATE SET {{supersession}};
  WHEN 'TRUNCATE' THEN
    -- The table is locked against everyone. A snapshot older than that lock does not see all live rows: the node sweeps up.
    UPDATE {{meta}} AS m SET {{supersession}}
    FROM (VALUES (now_us, {{origin}}, {{priority}}, true, pg_current_xact_id())) AS excluded (stamp, origin, priority, deleted, xid)
    WHERE NOT m.deleted AND NOT EXISTS (SELECT FROM {{relation}} AS d WHERE {{dataIsMeta}});
    IF current_setting('transaction_isolation') <> 'read committed' THEN
      INSERT INTO p2p.sweep (table_id) VALUES ({{id}});
    END IF;
  END CASE;

  IF (SELECT last_value FROM p2p.wakeup) = 2 THEN PERFORM pg_notify('p2p', ''); END IF;
  RETURN NULL;
END
$capture$;
