-- Puts the images of the written rows aside, without naming a column of theirs.
CASE TG_OP
WHEN 'UPDATE' THEN
  INSERT INTO p2p.unversioned (table_id, image)
  SELECT {{id}}, to_jsonb(o) FROM old_rows AS o UNION ALL SELECT {{id}}, to_jsonb(n) FROM new_rows AS n;
WHEN 'INSERT' THEN INSERT INTO p2p.unversioned (table_id, image) SELECT {{id}}, to_jsonb(n) FROM new_rows AS n;
WHEN 'DELETE' THEN INSERT INTO p2p.unversioned (table_id, image) SELECT {{id}}, to_jsonb(o) FROM old_rows AS o;
WHEN 'TRUNCATE' THEN INSERT INTO p2p.sweep (table_id) VALUES ({{id}});
END CASE;
