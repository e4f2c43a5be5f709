-- The versions of the rows of {{name}}, by its primary key (key1, key2, …, so that no column's name can clash).
--
-- `past` is NULL while the row has been written by one origin only; `siblings` while nothing is concurrent; `fields` outside of
-- merge-fields. A row that is composed of several versions is nobody's: the version under whose name it stands then lies whole in
-- `siblings`, beside the others. `via` is the peer that the version came by, NULL when it was written here. `xid` orders the feed.
-- `made_in` and `made_xid` say where the version was made (libs/core: Made): NULL for `via`, and for the row's own `xid`.
CREATE TABLE {{meta}} (
  {{keyDefinitions}},
  stamp    bigint  NOT NULL,
  origin   text    NOT NULL COLLATE "C",
  priority integer NOT NULL,
  past     jsonb,
  fields   jsonb,
  siblings jsonb,
  deleted  boolean NOT NULL,
  via      text    COLLATE "C",
  xid      xid8    NOT NULL,
  made_in  text    COLLATE "C",
  made_xid xid8,
  let_go   boolean,
  PRIMARY KEY ({{keys}})
);

CREATE INDEX ON {{meta}} (xid);

-- What may be forgotten one day is found by itself.
CREATE INDEX ON {{meta}} (xid) WHERE deleted AND siblings IS NULL;
CREATE INDEX ON {{meta}} (xid) WHERE siblings IS NOT NULL;
