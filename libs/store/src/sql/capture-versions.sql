-- Gives versions to the written rows of {{name}}. Rare questions about rows are asked of a function: a sub-query would be
-- prepared for at every write, for a fifth of what capture costs.
IF TG_OP = 'UPDATE' THEN
  {{update}}
ELSIF TG_OP = 'INSERT' THEN
  INSERT INTO {{meta}} AS m ({{keys}}, stamp, origin, priority, deleted, xid)
  SELECT {{keyOfNew}}, now_us, {{origin}}, {{priority}}, false, pg_current_xact_id()
  FROM new_rows AS n
  WHERE NOT nested OR {{has}}({{keyOfNew}})
  ON CONFLICT ({{keys}}) DO UPDATE SET {{supersession}};
ELSIF TG_OP = 'DELETE' THEN
  INSERT INTO {{meta}} AS m ({{keys}}, stamp, origin, priority, deleted, xid)
  SELECT {{keyOfOld}}, now_us, {{origin}}, {{priority}}, true, pg_current_xact_id()
  FROM old_rows AS o
  -- A key that is back in the table was inserted by this transaction: that was captured before, or is going to be.
  ON CONFLICT ({{keys}}) DO UPDATE SET {{supersession}} WHERE m.xid <> excluded.xid OR NOT {{has}}({{keyOfMeta}});
ELSE
  -- The table is locked against everyone. A snapshot older than that lock does not see all live rows: the node sweeps up.
  UPDATE {{meta}} AS m SET {{keyless}}
  FROM (VALUES (now_us, {{origin}}, {{priority}}, true, pg_current_xact_id())) AS excluded (stamp, origin, priority, deleted, xid)
  WHERE NOT m.deleted AND NOT EXISTS (SELECT FROM {{relation}} AS d WHERE {{dataIsMeta}});
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    INSERT INTO p2p.sweep (table_id) VALUES ({{id}});
  END IF;
END IF;
