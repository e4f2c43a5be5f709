{{rekeyed}}stamp = greatest(excluded.stamp, m.stamp + 1, CASE WHEN m.siblings IS NOT NULL THEN p2p.highest_stamp(m.siblings) + 1 END),
      origin = excluded.origin, priority = excluded.priority,
      past = CASE WHEN m.origin = excluded.origin AND m.siblings IS NULL THEN m.past
        ELSE p2p.past_of_write(m.past, m.origin, m.stamp, m.siblings, excluded.origin) END,
      fields = {{fields}}, siblings = NULL, deleted = excluded.deleted, via = NULL, made_in = NULL, made_xid = NULL, xid = excluded.xid
