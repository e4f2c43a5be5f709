-- Of several writes of one transaction the last is kept: nobody ever saw the others.
DELETE FROM {{history}} WHERE ctid = ANY (ARRAY(
  SELECT h.place FROM ({{source}}) AS k,
    LATERAL (SELECT {{keyOfMeta}} FROM {{meta}} AS m WHERE {{metaIsKey}} AND m.xid = pg_current_xact_id() OFFSET 0) AS m,
    LATERAL (
      SELECT o.ctid AS place, o.how = 'written' AND o.recorded_at = now() AS same,
        row_number() OVER (ORDER BY o.how = 'written' AND o.recorded_at = now(), o.stamp DESC, o.origin DESC) AS nth
      FROM {{history}} AS o WHERE {{historyIsMeta}}
    ) AS h
  WHERE h.same OR h.nth >= {{maxVersions}}
));
INSERT INTO {{history}} ({{keys}}, stamp, origin, priority, past, deleted, image, how)
SELECT {{keyOfMeta}}, m.stamp, m.origin, m.priority, m.past, m.deleted, d.image, 'written'
FROM ({{source}}) AS k,
  LATERAL (SELECT m.* FROM {{meta}} AS m WHERE {{metaIsKey}} AND m.xid = pg_current_xact_id() OFFSET 0) AS m
  LEFT JOIN LATERAL (SELECT true AS live, {{image}} AS image FROM {{relation}} AS d WHERE {{dataIsMeta}} OFFSET 0) AS d ON NOT m.deleted
WHERE m.deleted OR d.live;
