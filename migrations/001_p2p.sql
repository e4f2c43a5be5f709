-- The p2p schema: what a node keeps in the user's own database.
--
-- Per tracked table there is one metadata table, p2p.meta_<id>, with the row's typed primary key and the version of the row;
-- libs/store/src/sql/track.sql makes it. What stands here is shared by all of them.

-- Who we are. One row. The incarnation is drawn anew when the database was restored or copied: it names the writer's
-- versions (origin = node_id~incarnation) and the feed's epoch.
CREATE TABLE p2p.node (
  only_one          boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  node_id           text        NOT NULL COLLATE "C" CHECK (node_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
  incarnation       text        NOT NULL COLLATE "C" CHECK (incarnation ~ '^[0-9a-z]{12}$'),
  priority          integer     NOT NULL DEFAULT 0,
  -- The rules (libs/core: formatRules) by which the rows in conflict stand; those that were set at run time, in place of what was
  -- configured then: another configuration takes their place.
  rules             text        NOT NULL DEFAULT 'last-write-wins',
  rules_set         text,
  rules_replaced    text,
  system_identifier bigint      NOT NULL,
  timeline          integer     NOT NULL,
  database_oid      oid         NOT NULL,
  created_at        timestamptz NOT NULL DEFAULT now()
);

-- The tables that are shared. A table is known by its name to peers and by its oid here, so that a renamed table is noticed.
-- The tables that were shared once, and are no more: what this node wrote in them may be gone here, while peers take it to have that.
CREATE TABLE p2p.formerly_shared (
  name text PRIMARY KEY COLLATE "C"
);

CREATE TABLE p2p.tracked_table (
  id          integer     PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  relation    regclass    NOT NULL UNIQUE,
  name        text        NOT NULL COLLATE "C",
  -- The primary key's columns, by name and by number: one that was renamed is the same, one that is another begins anew.
  key_names   text[],
  key_numbers text,
  -- Its columns, number to name, as what is kept of its rows names them.
  column_names jsonb,
  backfilled  boolean     NOT NULL DEFAULT false,
  conflicts   bigint      NOT NULL DEFAULT 0,
  -- How many versions of a row p2p.history_<id> keeps with their images; 0: there is no such table (libs/store/src/sql/history.sql).
  max_versions integer    NOT NULL DEFAULT 0,
  -- Of rows that cannot stand beside each other the older stands: by the rules for the table (libs/core: isOldestFirst).
  oldest_first boolean    NOT NULL DEFAULT false,
  -- Whether the rows that were there before the history have their first entry in it.
  seeded      boolean     NOT NULL DEFAULT false,
  -- What who exchanges the table with us must know (libs/core: Guards), since deletions were forgotten here.
  guards      jsonb       NOT NULL DEFAULT '[]',
  tracked_at  timestamptz NOT NULL DEFAULT now()
);

-- How far we have read in each peer's feed (libs/core: Position). Written in the transaction that applies the window.
CREATE TABLE p2p.position (
  node       text        PRIMARY KEY COLLATE "C",
  epoch      text        NOT NULL COLLATE "C",
  tables     text[]      NOT NULL,
  snapshot   text        NOT NULL,
  -- Up to where all that the feed had is here (libs/core: Position).
  complete   text        NOT NULL,
  reached    text        NOT NULL,
  copy       jsonb,
  left_off   jsonb,
  -- What it told of each origin's own writes (libs/core: Seen), and over which tables that holds here.
  seen       jsonb,
  formerly   jsonb,
  updated_at timestamptz NOT NULL DEFAULT now()
);

-- Who has ever belonged to the mesh (libs/core: Member), this node included. `claim`, `snapshot` and `known` are what the node said last of how
-- far it had come; `known` by node as nodes tell each other: {cursor: 'epoch/xmax:xip,…', tables: […]}.
CREATE TABLE p2p.member (
  node_id    text        PRIMARY KEY COLLATE "C",
  epoch      text        NOT NULL COLLATE "C",
  tables     text[]      NOT NULL,
  first_seen timestamptz NOT NULL,
  last_seen  timestamptz NOT NULL,
  claim      bigint,
  snapshot   text,
  known      jsonb,
  -- Those of its tables in which the last write does not settle every conflict.
  keeps      text[],
  evicted_at timestamptz,
  evicted_by text        COLLATE "C",
  term       integer     NOT NULL DEFAULT 0,
  CHECK (num_nulls(claim, snapshot, known) IN (0, 3)),
  CHECK (num_nulls(evicted_at, evicted_by) IN (0, 2))
);

-- A key's text as something that an index takes at any length.
CREATE FUNCTION p2p.key_digest(key text[]) RETURNS bytea LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT sha256(convert_to(to_json($1)::text, 'UTF8'))
$$;

-- The rows that a copy under way has brought, by source and table, where what it does not bring is to be deleted at its end; `matched`: only
-- those that were here, for there were none when it began.
CREATE TABLE p2p.copy_notes (
  node     text    NOT NULL COLLATE "C",
  table_id integer NOT NULL,
  matched  boolean NOT NULL,
  PRIMARY KEY (node, table_id)
);

CREATE TABLE p2p.copied_key (
  node     text    NOT NULL COLLATE "C",
  table_id integer NOT NULL,
  key      text[]  NOT NULL
);

CREATE INDEX ON p2p.copied_key (node, table_id, p2p.key_digest(key));

-- The numbers that this node draws for serial keys (libs/core: Slot); no row until they are interleaved (pgmesh sequences).
CREATE TABLE p2p.slot (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  slot     integer NOT NULL,
  of       integer NOT NULL,
  CHECK (slot BETWEEN 1 AND of)
);

-- Which of the processes over this database leads (libs/store/src/lease.ts). One row; by this server's clock.
CREATE TABLE p2p.lease (
  only_one      boolean     PRIMARY KEY DEFAULT true CHECK (only_one),
  holder        text        COLLATE "C",
  -- Where the other processes reach it.
  url           text,
  -- The connection by which it holds the lease.
  pid           integer,
  session_start timestamptz,
  generation    bigint      NOT NULL DEFAULT 0,
  taken_at      timestamptz,
  renewed_at    timestamptz
);

-- Peers that somebody added by hand; kept across restarts.
CREATE TABLE p2p.peer (
  url      text        PRIMARY KEY,
  node_id  text        COLLATE "C",
  added_at timestamptz NOT NULL DEFAULT now()
);

-- What was exchanged, the latest 10,000 records.
CREATE TABLE p2p.sync_history (
  id          bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  peer        text        NOT NULL,
  direction   text        NOT NULL CHECK (direction IN ('pull', 'push', 'received')),
  kind        text        NOT NULL CHECK (kind IN ('window', 'copy')),
  rows        integer     NOT NULL,
  changed     integer     NOT NULL,
  conflicts   integer     NOT NULL,
  started_at  timestamptz NOT NULL,
  duration_ms double precision NOT NULL,
  error       text
);

-- Which snapshot stood when: `since=<time>` starts at the last one before that time. A time alone would miss what commits late.
CREATE TABLE p2p.tick (
  at       timestamptz PRIMARY KEY,
  snapshot text        NOT NULL
);

-- TRUNCATE sees past its transaction's snapshot. Where that is an old one (REPEATABLE READ), the tombstones are completed
-- from here, by the node, after the commit.
CREATE TABLE p2p.sweep (
  table_id integer NOT NULL,
  xid      xid8    NOT NULL DEFAULT pg_current_xact_id()
);

-- Rows as they were before and after writes whose versions capture could not make: to a table that had been renamed, or whose
-- key had been changed, before its capture function was; or under a snapshot older than the row's version. The node makes them.
CREATE TABLE p2p.unversioned (
  table_id integer NOT NULL,
  image    jsonb   NOT NULL
);

-- Rows that have, or had, several concurrent versions: one record from the first sibling until a version covers them all.
-- `open` says why somebody has to decide, and is NULL where the rule did (libs/core: OpenReason). `versions` are all that were ever
-- part of the set, but for `left_out` old ones; `winner` is the one under whose name the row stood last, `ended_by` the one that
-- covered them.
CREATE TABLE p2p.conflict (
  id         bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  table_id   integer     NOT NULL,
  key        text[]      NOT NULL,
  opened_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at   timestamptz,
  ended_by   jsonb,
  strategy   text        NOT NULL,
  resolver   text,
  prefix     text,
  decided_by text        NOT NULL,
  open       jsonb,
  winner     jsonb       NOT NULL,
  versions   jsonb       NOT NULL,
  left_out   integer     NOT NULL DEFAULT 0
);

CREATE UNIQUE INDEX ON p2p.conflict (table_id, p2p.key_digest(key)) WHERE ended_at IS NULL;
CREATE INDEX ON p2p.conflict (id) WHERE ended_at IS NULL AND open IS NOT NULL;
CREATE INDEX ON p2p.conflict (updated_at);

-- Rows that their tables cannot show beside the others, or not at all (docs/parking.md): their versions lie whole in the siblings of their
-- metadata, which says deleted. A record holds for as long as its version stands there. `image` is the row that would be shown; `composed`
-- says that it is made of several versions. `waits_for` names the row that has the key, or the one that is referred to.
CREATE TABLE p2p.parked (
  id         bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  table_id   integer     NOT NULL,
  key        text[]      NOT NULL,
  stamp      bigint      NOT NULL,
  origin     text        NOT NULL COLLATE "C",
  composed   boolean     NOT NULL,
  image      jsonb       NOT NULL,
  reason     text        NOT NULL CHECK (reason IN ('key', 'reference', 'refused')),
  "constraint" text,
  message    text        NOT NULL,
  waits_for  jsonb,
  parked_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- As something that an index takes at any length.
CREATE FUNCTION p2p.digest(value jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT sha256(convert_to($1::text, 'UTF8'))
$$;

CREATE UNIQUE INDEX ON p2p.parked (table_id, p2p.key_digest(key));
CREATE INDEX ON p2p.parked (p2p.digest(waits_for));
CREATE INDEX ON p2p.parked (table_id) WHERE reason = 'reference';

-- An object with other names for some of its members: what is told by column, once columns are renamed.
CREATE FUNCTION p2p.renamed(object jsonb, names jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE jsonb_typeof($1) WHEN 'object'
    THEN (SELECT coalesce(jsonb_object_agg(coalesce($2 ->> e.key, e.key), e.value), '{}') FROM jsonb_each($1) AS e) ELSE $1 END
$$;

-- A row's versions without the one under whose name it stands, and with it, in their order (libs/core: compareVersions).
CREATE FUNCTION p2p.without(siblings jsonb, stamp bigint, origin text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_agg(s.version ORDER BY s.place) FROM jsonb_array_elements($1) WITH ORDINALITY AS s (version, place)
  WHERE (s.version ->> 'stamp')::int8 <> $2 OR s.version ->> 'origin' <> $3
$$;

CREATE FUNCTION p2p.beside(siblings jsonb, version jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_agg(s.version ORDER BY (s.version ->> 'stamp')::int8, (s.version ->> 'origin') COLLATE "C")
  FROM jsonb_array_elements(coalesce($1, '[]') || jsonb_build_array($2)) AS s (version)
$$;

-- Ends a transaction that leaves a reference unmet, or that has gone by other constraints between tables than there are.
CREATE FUNCTION p2p.unmet(reference text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'A row would stand without the row that it refers to (%)', reference USING ERRCODE = 'P2003', CONSTRAINT = reference;
END
$$;

-- Ends a transaction that changes what parked rows wait for.
CREATE FUNCTION p2p.unsettled() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'Rows are parked that may stand now' USING ERRCODE = 'P2005';
END
$$;

CREATE FUNCTION p2p.assert_constraints(relations oid[], known bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT coalesce(sum(t.tgconstraint::int8), 0) FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = ANY (relations)) <> known THEN
    RAISE EXCEPTION 'The constraints between tables have changed' USING ERRCODE = 'P2004';
  END IF;
END
$$;

-- Ends a transaction that applies a window over such rows: they are given their versions first, or they would be lost.
CREATE FUNCTION p2p.assert_versioned(tables integer[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM p2p.unversioned WHERE table_id = ANY (tables)) THEN
    RAISE EXCEPTION 'Rows that were written here wait for their versions' USING ERRCODE = 'P2002';
  END IF;
END
$$;

-- Until when a sleeping reader wants to be woken, in microseconds since 1970; 1 while it is awake. It lapses, so that a reader that
-- was killed does not cost writers a NOTIFY each for ever. A sequence, because a reader's flag must be seen by transactions that are
-- older than it: NOTIFY in every statement halves the rate of 4 writers, this costs them nothing.
CREATE SEQUENCE p2p.wakeup;

-- The writer's clock in microseconds since 1970. The one place where time enters.
CREATE FUNCTION p2p.clock() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8
$$;

-- The highest stamp of what was forgotten here: a row that is written anew under a dropped key is stamped above it, or whoever still has the
-- deletion would take it for what was deleted.
CREATE SEQUENCE p2p.forgotten;

-- The stamp of a write that has no version before it.
CREATE FUNCTION p2p.stamp() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT greatest(p2p.clock(), pg_catalog.pg_sequence_last_value('p2p.forgotten'::regclass) + 1)
$$;

-- An error where the types differ (see sql/fits.sql).
CREATE FUNCTION p2p.alike(anyelement, anyelement) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT true $$;

-- The past of a write that `writer` makes over a version and its siblings: all that any of them had seen, and they themselves.
-- The same rule as pastOfWrite in libs/core/src/row-state.ts; NULL is the empty vector.
CREATE FUNCTION p2p.past_of_write(past jsonb, origin text, stamp bigint, siblings jsonb, writer text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH version AS (
    SELECT $1 AS past, $2 AS origin, $3 AS stamp
    UNION ALL
    SELECT s->'past', s->>'origin', (s->>'stamp')::int8 FROM jsonb_array_elements(coalesce($4, '[]')) AS s
  ), entry AS (
    SELECT v.origin, v.stamp FROM version AS v
    UNION ALL
    SELECT e.key, e.value::int8 FROM version AS v,
      jsonb_each_text(CASE jsonb_typeof(v.past) WHEN 'object' THEN v.past ELSE '{}' END) AS e
  ), highest AS (
    SELECT e.origin, max(e.stamp) AS stamp FROM entry AS e WHERE e.origin <> $5 GROUP BY e.origin
  )
  SELECT jsonb_object_agg(h.origin, h.stamp) FROM highest AS h
$$;

-- The field stamps of a write over a version with the field stamps `fields`. `kept` is what it left as it was, by column: true, or for
-- a document that it changed the list of the keys that it kept. The same rule as fieldsOfWrite in libs/core/src/field-stamps.ts.
CREATE FUNCTION p2p.fields_of_write(fields jsonb, stamp bigint, origin text, kept jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_object_agg(k.key, e.entry)
  FROM jsonb_each($4) AS k, LATERAL (SELECT $1 -> k.key AS was, jsonb_build_array($2, $3) AS own) AS f,
    LATERAL (SELECT CASE jsonb_typeof(k.value)
      WHEN 'array' THEN (
        SELECT jsonb_build_object('keys', jsonb_object_agg(n.name, coalesce(f.was -> 'keys' -> n.name, f.was -> 'at', f.own)))
        FROM jsonb_array_elements_text(k.value) AS n (name))
      ELSE jsonb_build_object('at', coalesce(f.was -> 'at', f.own)) || coalesce(f.was - 'at', '{}')
    END AS entry) AS e
$$;

-- The keys with the same values in two documents; NULL where there are none, or where one is no object.
CREATE FUNCTION p2p.kept_keys(before jsonb, after jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_agg(e.key)
  FROM jsonb_each(CASE WHEN jsonb_typeof($1) = 'object' AND jsonb_typeof($2) = 'object' THEN $2 END) AS e
  -- As text: 1.0 and 1.00 are equal to jsonb.
  WHERE ($1 -> e.key)::text = e.value::text
$$;

-- Whether a version's field stamps can be true: each of a write that its writer had seen, none later than the version. Those of a
-- composed row are of writes that others had seen. The same rule as soundFields in libs/core/src/field-stamps.ts.
CREATE FUNCTION p2p.sound_fields(fields jsonb, stamp bigint, origin text, past jsonb, composed boolean) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(bool_and(CASE
    WHEN jsonb_typeof(f.value) <> 'object' OR f.value = '{}' OR f.value - 'at' - 'keys' <> '{}' THEN false
    WHEN f.value ? 'keys' AND jsonb_typeof(f.value -> 'keys') <> 'object' THEN false
    ELSE NOT EXISTS (
      SELECT FROM (
        SELECT f.value -> 'at' AS at WHERE f.value ? 'at'
        UNION ALL SELECT k.value FROM jsonb_each(CASE WHEN f.value ? 'keys' THEN f.value -> 'keys' ELSE '{}' END) AS k
      ) AS w
      WHERE CASE
        WHEN jsonb_typeof(w.at) <> 'array' OR jsonb_array_length(w.at) <> 2 OR jsonb_typeof(w.at -> 0) <> 'number'
          OR jsonb_typeof(w.at -> 1) <> 'string' OR w.at ->> 0 !~ '^[1-9][0-9]{0,15}$' THEN true
        WHEN ((w.at ->> 0)::int8, (w.at ->> 1) COLLATE "C") >= ($2, $3 COLLATE "C") THEN true
        WHEN $5 OR w.at ->> 1 = $3 THEN false
        ELSE coalesce(($4 ->> (w.at ->> 1))::int8 < (w.at ->> 0)::int8, true)
      END)
  END), true)
  FROM jsonb_each(CASE jsonb_typeof($1) WHEN 'object' THEN $1 END) AS f
$$;

-- The highest stamp among siblings; NULL where there are none.
CREATE FUNCTION p2p.highest_stamp(siblings jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT max((s->>'stamp')::int8) FROM jsonb_array_elements($1) AS s
$$;

-- Called by a window's query on a row that its version says is live and that its table does not have in this snapshot: the
-- table was rewritten or truncated after the snapshot, or capture was bypassed. Never taken for a delete.
CREATE FUNCTION p2p.torn(relation text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'A row of % is live by its version and missing in the table', relation USING ERRCODE = 'P2001';
END
$$;
