TABLE conflict
  id bigint NOT NULL
  table_id integer NOT NULL
  key text[] NOT NULL
  opened_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  updated_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  ended_at timestamp with time zone
  ended_by jsonb
  strategy text NOT NULL
  resolver text
  prefix text
  decided_by text NOT NULL
  open jsonb
  winner jsonb NOT NULL
  versions jsonb NOT NULL
  left_out integer NOT NULL DEFAULT 0
  PRIMARY KEY (id)

TABLE copied_key
  node text NOT NULL
  table_id integer NOT NULL
  key text[] NOT NULL

TABLE copy_notes
  node text NOT NULL
  table_id integer NOT NULL
  matched boolean NOT NULL
  PRIMARY KEY (node, table_id)

TABLE formerly_shared
  name text NOT NULL
  PRIMARY KEY (name)

TABLE lease
  only_one boolean NOT NULL DEFAULT true
  holder text
  url text
  pid integer
  session_start timestamp with time zone
  generation bigint NOT NULL DEFAULT 0
  taken_at timestamp with time zone
  renewed_at timestamp with time zone
  CHECK (only_one)
  PRIMARY KEY (only_one)

TABLE member
  node_id text NOT NULL
  epoch text NOT NULL
  tables text[] NOT NULL
  first_seen timestamp with time zone NOT NULL
  last_seen timestamp with time zone NOT NULL
  claim bigint
  snapshot text
  known jsonb
  keeps text[]
  evicted_at timestamp with time zone
  evicted_by text
  term integer NOT NULL DEFAULT 0
  CHECK ((num_nulls(claim, snapshot, known) = ANY (ARRAY[0, 3])))
  CHECK ((num_nulls(evicted_at, evicted_by) = ANY (ARRAY[0, 2])))
  PRIMARY KEY (node_id)

TABLE meta_1
  key1 uuid NOT NULL
  key2 integer NOT NULL
  stamp bigint NOT NULL
  origin text NOT NULL
  priority integer NOT NULL
  past jsonb
  fields jsonb
  siblings jsonb
  deleted boolean NOT NULL
  via text
  xid xid8 NOT NULL
  made_in text
  made_xid xid8
  let_go boolean
  PRIMARY KEY (key1, key2)

TABLE node
  only_one boolean NOT NULL DEFAULT true
  node_id text NOT NULL
  incarnation text NOT NULL
  priority integer NOT NULL DEFAULT 0
  rules text NOT NULL DEFAULT 'last-write-wins'::text
  rules_set text
  rules_replaced text
  system_identifier bigint NOT NULL
  timeline integer NOT NULL
  database_oid oid NOT NULL
  created_at timestamp with time zone NOT NULL DEFAULT now()
  CHECK ((incarnation ~ '^[0-9a-z]{12}$'::text))
  CHECK ((node_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'::text))
  CHECK (only_one)
  PRIMARY KEY (only_one)

TABLE parked
  id bigint NOT NULL
  table_id integer NOT NULL
  key text[] NOT NULL
  stamp bigint NOT NULL
  origin text NOT NULL
  composed boolean NOT NULL
  image jsonb NOT NULL
  reason text NOT NULL
  constraint text
  message text NOT NULL
  waits_for jsonb
  parked_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
  PRIMARY KEY (id)
  CHECK ((reason = ANY (ARRAY['key'::text, 'reference'::text, 'refused'::text])))

TABLE peer
  url text NOT NULL
  node_id text
  added_at timestamp with time zone NOT NULL DEFAULT now()
  PRIMARY KEY (url)

TABLE position
  node text NOT NULL
  epoch text NOT NULL
  tables text[] NOT NULL
  snapshot text NOT NULL
  complete text NOT NULL
  reached text NOT NULL
  copy jsonb
  left_off jsonb
  seen jsonb
  formerly jsonb
  updated_at timestamp with time zone NOT NULL DEFAULT now()
  PRIMARY KEY (node)

TABLE slot
  only_one boolean NOT NULL DEFAULT true
  slot integer NOT NULL
  of integer NOT NULL
  CHECK (((slot >= 1) AND (slot <= of)))
  CHECK (only_one)
  PRIMARY KEY (only_one)

TABLE sweep
  table_id integer NOT NULL
  xid xid8 NOT NULL DEFAULT pg_current_xact_id()

TABLE sync_history
  id bigint NOT NULL
  peer text NOT NULL
  direction text NOT NULL
  kind text NOT NULL
  rows integer NOT NULL
  changed integer NOT NULL
  conflicts integer NOT NULL
  started_at timestamp with time zone NOT NULL
  duration_ms double precision NOT NULL
  error text
  CHECK ((direction = ANY (ARRAY['pull'::text, 'push'::text, 'received'::text])))
  CHECK ((kind = ANY (ARRAY['window'::text, 'copy'::text])))
  PRIMARY KEY (id)

TABLE tick
  at timestamp with time zone NOT NULL
  snapshot text NOT NULL
  PRIMARY KEY (at)

TABLE tracked_table
  id integer NOT NULL
  relation regclass NOT NULL
  name text NOT NULL
  key_names text[]
  key_numbers text
  column_names jsonb
  backfilled boolean NOT NULL DEFAULT false
  conflicts bigint NOT NULL DEFAULT 0
  max_versions integer NOT NULL DEFAULT 0
  oldest_first boolean NOT NULL DEFAULT false
  seeded boolean NOT NULL DEFAULT false
  guards jsonb NOT NULL DEFAULT '[]'::jsonb
  tracked_at timestamp with time zone NOT NULL DEFAULT now()
  PRIMARY KEY (id)
  UNIQUE (relation)

TABLE unversioned
  table_id integer NOT NULL
  image jsonb NOT NULL

CREATE INDEX conflict_id_idx ON p2p.conflict USING btree (id) WHERE ((ended_at IS NULL) AND (open IS NOT NULL))

CREATE UNIQUE INDEX conflict_pkey ON p2p.conflict USING btree (id)

CREATE UNIQUE INDEX conflict_table_id_key_digest_idx ON p2p.conflict USING btree (table_id, p2p.key_digest(key)) WHERE (ended_at IS NULL)

CREATE INDEX conflict_updated_at_idx ON p2p.conflict USING btree (updated_at)

CREATE INDEX copied_key_node_table_id_key_digest_idx ON p2p.copied_key USING btree (node, table_id, p2p.key_digest(key))

CREATE UNIQUE INDEX copy_notes_pkey ON p2p.copy_notes USING btree (node, table_id)

CREATE UNIQUE INDEX formerly_shared_pkey ON p2p.formerly_shared USING btree (name)

CREATE UNIQUE INDEX lease_pkey ON p2p.lease USING btree (only_one)

CREATE UNIQUE INDEX member_pkey ON p2p.member USING btree (node_id)

CREATE UNIQUE INDEX meta_1_pkey ON p2p.meta_1 USING btree (key1, key2)

CREATE INDEX meta_1_xid_idx ON p2p.meta_1 USING btree (xid)

CREATE INDEX meta_1_xid_idx1 ON p2p.meta_1 USING btree (xid) WHERE (deleted AND (siblings IS NULL))

CREATE INDEX meta_1_xid_idx2 ON p2p.meta_1 USING btree (xid) WHERE (siblings IS NOT NULL)

CREATE UNIQUE INDEX node_pkey ON p2p.node USING btree (only_one)

CREATE INDEX parked_digest_idx ON p2p.parked USING btree (p2p.digest(waits_for))

CREATE UNIQUE INDEX parked_pkey ON p2p.parked USING btree (id)

CREATE INDEX parked_table_id_idx ON p2p.parked USING btree (table_id) WHERE (reason = 'reference'::text)

CREATE UNIQUE INDEX parked_table_id_key_digest_idx ON p2p.parked USING btree (table_id, p2p.key_digest(key))

CREATE UNIQUE INDEX peer_pkey ON p2p.peer USING btree (url)

CREATE UNIQUE INDEX position_pkey ON p2p."position" USING btree (node)

CREATE UNIQUE INDEX slot_pkey ON p2p.slot USING btree (only_one)

CREATE UNIQUE INDEX sync_history_pkey ON p2p.sync_history USING btree (id)

CREATE UNIQUE INDEX tick_pkey ON p2p.tick USING btree (at)

CREATE UNIQUE INDEX tracked_table_pkey ON p2p.tracked_table USING btree (id)

CREATE UNIQUE INDEX tracked_table_relation_key ON p2p.tracked_table USING btree (relation)

SEQUENCE conflict_id_seq FROM 1 TO 9223372036854775807

SEQUENCE forgotten FROM 1 TO 9223372036854775807

SEQUENCE parked_id_seq FROM 1 TO 9223372036854775807

SEQUENCE sync_history_id_seq FROM 1 TO 9223372036854775807

SEQUENCE tracked_table_id_seq FROM 1 TO 2147483647

SEQUENCE wakeup FROM 1 TO 9223372036854775807

CREATE OR REPLACE FUNCTION p2p.alike(anyelement, anyelement)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
AS $function$ SELECT true $function$

CREATE OR REPLACE FUNCTION p2p.assert_constraints(relations oid[], known bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
BEGIN
  IF (SELECT coalesce(sum(t.tgconstraint::int8), 0) FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = ANY (relations)) <> known THEN
    RAISE EXCEPTION 'The constraints between tables have changed' USING ERRCODE = 'P2004';
  END IF;
END
$function$

CREATE OR REPLACE FUNCTION p2p.assert_versioned(tables integer[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
BEGIN
  IF EXISTS (SELECT FROM p2p.unversioned WHERE table_id = ANY (tables)) THEN
    RAISE EXCEPTION 'Rows that were written here wait for their versions' USING ERRCODE = 'P2002';
  END IF;
END
$function$

CREATE OR REPLACE FUNCTION p2p.beside(siblings jsonb, version jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT jsonb_agg(s.version ORDER BY (s.version ->> 'stamp')::int8, (s.version ->> 'origin') COLLATE "C")
  FROM jsonb_array_elements(coalesce($1, '[]') || jsonb_build_array($2)) AS s (version)
$function$

CREATE OR REPLACE FUNCTION p2p.capture_1()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_variable
DECLARE
  mode text;
  nested boolean := false;
  fit boolean := true;
  read_committed boolean := true;
  now_us constant bigint := p2p.stamp();
BEGIN
  -- All that makes a write extraordinary in one expression: each of its own costs a snapshot.
  IF current_setting('p2p.mode', true) <> '' OR pg_trigger_depth() > 1
    OR current_setting('transaction_isolation') <> 'read committed' OR NOT p2p.fits_1('<oid>'::regclass)
  THEN
    mode := current_setting('p2p.mode', true);
    nested := pg_trigger_depth() > 1;
    IF mode = pg_current_xact_id()::text || ' apply' THEN
      RETURN NULL;
    ELSIF mode = pg_current_xact_id()::text || ' nested' THEN
      nested := true;
    ELSIF nested THEN
      mode := set_config('p2p.mode', pg_current_xact_id()::text || ' nested', true);
    END IF;
    fit := p2p.fits_1('<oid>'::regclass);
    read_committed := current_setting('transaction_isolation') = 'read committed';
  END IF;

  IF NOT fit THEN
    -- Puts the images of the written rows aside, without naming a column of theirs.
CASE TG_OP
WHEN 'UPDATE' THEN
  INSERT INTO p2p.unversioned (table_id, image)
  SELECT 1, to_jsonb(o) FROM old_rows AS o UNION ALL SELECT 1, to_jsonb(n) FROM new_rows AS n;
WHEN 'INSERT' THEN INSERT INTO p2p.unversioned (table_id, image) SELECT 1, to_jsonb(n) FROM new_rows AS n;
WHEN 'DELETE' THEN INSERT INTO p2p.unversioned (table_id, image) SELECT 1, to_jsonb(o) FROM old_rows AS o;
WHEN 'TRUNCATE' THEN INSERT INTO p2p.sweep (table_id) VALUES (1);
END CASE;
  ELSIF read_committed THEN
    -- Gives versions to the written rows of public.items. Rare questions about rows are asked of a function: a sub-query would be
-- prepared for at every write, for a fifth of what capture costs.
IF TG_OP = 'UPDATE' THEN
  -- A full join is never a nested loop, whatever size the plan was made for.
  INSERT INTO p2p.meta_1 AS m (key1, key2, stamp, origin, priority, deleted, xid)
  SELECT coalesce(n.id, o.id), coalesce(n.line, o.line), now_us, 'golden~<incarnation>', 0, n.id IS NULL, pg_current_xact_id()
  FROM old_rows AS o FULL JOIN new_rows AS n ON n.id OPERATOR(pg_catalog.=) o.id AND n.line OPERATOR(pg_catalog.=) o.line
  WHERE CASE
    WHEN n.id IS NULL THEN NOT p2p.has_1(o.id, o.line)
    WHEN nested AND NOT p2p.has_1(n.id, n.line) THEN false
    WHEN o.id IS NULL THEN true
    ELSE o.* *<> n.*
  END
  ON CONFLICT (key1, key2) DO UPDATE SET stamp = greatest(excluded.stamp, m.stamp + 1, CASE WHEN m.siblings IS NOT NULL THEN p2p.highest_stamp(m.siblings) + 1 END),
      origin = excluded.origin, priority = excluded.priority,
      past = CASE WHEN m.origin = excluded.origin AND m.siblings IS NULL THEN m.past
        ELSE p2p.past_of_write(m.past, m.origin, m.stamp, m.siblings, excluded.origin) END,
      fields = NULL, siblings = NULL, deleted = excluded.deleted, via = NULL, made_in = NULL, made_xid = NULL, xid = excluded.xid;
ELSIF TG_OP = 'INSERT' THEN
  INSERT INTO p2p.meta_1 AS m (key1, key2, stamp, origin, priority, deleted, xid)
  SELECT n.id, n.line, now_us, 'golden~<incarnation>', 0, false, pg_current_xact_id()
  FROM new_rows AS n
  WHERE NOT nested OR p2p.has_1(n.id, n.line)
  ON CONFLICT (key1, key2) DO UPDATE SET stamp = greatest(excluded.stamp, m.stamp + 1, CASE WHEN m.siblings IS NOT NULL THEN p2p.highest_stamp(m.siblings) + 1 END),
      origin = excluded.origin, priority = excluded.priority,
      past = CASE WHEN m.origin = excluded.origin AND m.siblings IS NULL THEN m.past
        ELSE p2p.past_of_write(m.past, m.origin, m.stamp, m.siblings, excluded.origin) END,
      fields = NULL, siblings = NULL, deleted = excluded.deleted, via = NULL, made_in = NULL, made_xid = NULL, xid = excluded.xid;
ELSIF TG_OP = 'DELETE' THEN
  INSERT INTO p2p.meta_1 AS m (key1, key2, stamp, origin, priority, deleted, xid)
  SELECT o.id, o.line, now_us, 'golden~<incarnation>', 0, true, pg_current_xact_id()
  FROM old_rows AS o
  -- A key that is back in the table was inserted by this transaction: that was captured before, or is going to be.
  ON CONFLICT (key1, key2) DO UPDATE SET stamp = greatest(excluded.stamp, m.stamp + 1, CASE WHEN m.siblings IS NOT NULL THEN p2p.highest_stamp(m.siblings) + 1 END),
      origin = excluded.origin, priority = excluded.priority,
      past = CASE WHEN m.origin = excluded.origin AND m.siblings IS NULL THEN m.past
        ELSE p2p.past_of_write(m.past, m.origin, m.stamp, m.siblings, excluded.origin) END,
      fields = NULL, siblings = NULL, deleted = excluded.deleted, via = NULL, made_in = NULL, made_xid = NULL, xid = excluded.xid WHERE m.xid <> excluded.xid OR NOT p2p.has_1(m.key1, m.key2);
ELSE
  -- The table is locked against everyone. A snapshot older than that lock does not see all live rows: the node sweeps up.
  UPDATE p2p.meta_1 AS m SET stamp = greatest(excluded.stamp, m.stamp + 1, CASE WHEN m.siblings IS NOT NULL THEN p2p.highest_stamp(m.siblings) + 1 END),
      origin = excluded.origin, priority = excluded.priority,
      past = CASE WHEN m.origin = excluded.origin AND m.siblings IS NULL THEN m.past
        ELSE p2p.past_of_write(m.past, m.origin, m.stamp, m.siblings, excluded.origin) END,
      fields = NULL, siblings = NULL, deleted = excluded.deleted, via = NULL, made_in = NULL, made_xid = NULL, xid = excluded.xid
  FROM (VALUES (now_us, 'golden~<incarnation>', 0, true, pg_current_xact_id())) AS excluded (stamp, origin, priority, deleted, xid)
  WHERE NOT m.deleted AND NOT EXISTS (SELECT FROM public.items AS d WHERE d.id OPERATOR(pg_catalog.=) m.key1 AND d.line OPERATOR(pg_catalog.=) m.key2);
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    INSERT INTO p2p.sweep (table_id) VALUES (1);
  END IF;
END IF;
  ELSE
    BEGIN
      -- Gives versions to the written rows of public.items. Rare questions about rows are asked of a function: a sub-query would be
-- prepared for at every write, for a fifth of what capture costs.
IF TG_OP = 'UPDATE' THEN
  -- A full join is never a nested loop, whatever size the plan was made for.
  INSERT INTO p2p.meta_1 AS m (key1, key2, stamp, origin, priority, deleted, xid)
  SELECT coalesce(n.id, o.id), coalesce(n.line, o.line), now_us, 'golden~<incarnation>', 0, n.id IS NULL, pg_current_xact_id()
  FROM old_rows AS o FULL JOIN new_rows AS n ON n.id OPERATOR(pg_catalog.=) o.id AND n.line OPERATOR(pg_catalog.=) o.line
  WHERE CASE
    WHEN n.id IS NULL THEN NOT p2p.has_1(o.id, o.line)
    WHEN nested AND NOT p2p.has_1(n.id, n.line) THEN false
    WHEN o.id IS NULL THEN true
    ELSE o.* *<> n.*
  END
  ON CONFLICT (key1, key2) DO UPDATE SET stamp = greatest(excluded.stamp, m.stamp + 1, CASE WHEN m.siblings IS NOT NULL THEN p2p.highest_stamp(m.siblings) + 1 END),
      origin = excluded.origin, priority = excluded.priority,
      past = CASE WHEN m.origin = excluded.origin AND m.siblings IS NULL THEN m.past
        ELSE p2p.past_of_write(m.past, m.origin, m.stamp, m.siblings, excluded.origin) END,
      fields = NULL, siblings = NULL, deleted = excluded.deleted, via = NULL, made_in = NULL, made_xid = NULL, xid = excluded.xid;
ELSIF TG_OP = 'INSERT' THEN
  INSERT INTO p2p.meta_1 AS m (key1, key2, stamp, origin, priority, deleted, xid)
  SELECT n.id, n.line, now_us, 'golden~<incarnation>', 0, false, pg_current_xact_id()
  FROM new_rows AS n
  WHERE NOT nested OR p2p.has_1(n.id, n.line)
  ON CONFLICT (key1, key2) DO UPDATE SET stamp = greatest(excluded.stamp, m.stamp + 1, CASE WHEN m.siblings IS NOT NULL THEN p2p.highest_stamp(m.siblings) + 1 END),
      origin = excluded.origin, priority = excluded.priority,
      past = CASE WHEN m.origin = excluded.origin AND m.siblings IS NULL THEN m.past
        ELSE p2p.past_of_write(m.past, m.origin, m.stamp, m.siblings, excluded.origin) END,
      fields = NULL, siblings = NULL, deleted = excluded.deleted, via = NULL, made_in = NULL, made_xid = NULL, xid = excluded.xid;
ELSIF TG_OP = 'DELETE' THEN
  INSERT INTO p2p.meta_1 AS m (key1, key2, stamp, origin, priority, deleted, xid)
  SELECT o.id, o.line, now_us, 'golden~<incarnation>', 0, true, pg_current_xact_id()
  FROM old_rows AS o
  -- A key that is back in the table was inserted by this transaction: that was captured before, or is going to be.
  ON CONFLICT (key1, key2) DO UPDATE SET stamp = greatest(excluded.stamp, m.stamp + 1, CASE WHEN m.siblings IS NOT NULL THEN p2p.highest_stamp(m.siblings) + 1 END),
      origin = excluded.origin, priority = excluded.priority,
      past = CASE WHEN m.origin = excluded.origin AND m.siblings IS NULL THEN m.past
        ELSE p2p.past_of_write(m.past, m.origin, m.stamp, m.siblings, excluded.origin) END,
      fields = NULL, siblings = NULL, deleted = excluded.deleted, via = NULL, made_in = NULL, made_xid = NULL, xid = excluded.xid WHERE m.xid <> excluded.xid OR NOT p2p.has_1(m.key1, m.key2);
ELSE
  -- The table is locked against everyone. A snapshot older than that lock does not see all live rows: the node sweeps up.
  UPDATE p2p.meta_1 AS m SET stamp = greatest(excluded.stamp, m.stamp + 1, CASE WHEN m.siblings IS NOT NULL THEN p2p.highest_stamp(m.siblings) + 1 END),
      origin = excluded.origin, priority = excluded.priority,
      past = CASE WHEN m.origin = excluded.origin AND m.siblings IS NULL THEN m.past
        ELSE p2p.past_of_write(m.past, m.origin, m.stamp, m.siblings, excluded.origin) END,
      fields = NULL, siblings = NULL, deleted = excluded.deleted, via = NULL, made_in = NULL, made_xid = NULL, xid = excluded.xid
  FROM (VALUES (now_us, 'golden~<incarnation>', 0, true, pg_current_xact_id())) AS excluded (stamp, origin, priority, deleted, xid)
  WHERE NOT m.deleted AND NOT EXISTS (SELECT FROM public.items AS d WHERE d.id OPERATOR(pg_catalog.=) m.key1 AND d.line OPERATOR(pg_catalog.=) m.key2);
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    INSERT INTO p2p.sweep (table_id) VALUES (1);
  END IF;
END IF;
    EXCEPTION WHEN serialization_failure THEN
      -- Puts the images of the written rows aside, without naming a column of theirs.
CASE TG_OP
WHEN 'UPDATE' THEN
  INSERT INTO p2p.unversioned (table_id, image)
  SELECT 1, to_jsonb(o) FROM old_rows AS o UNION ALL SELECT 1, to_jsonb(n) FROM new_rows AS n;
WHEN 'INSERT' THEN INSERT INTO p2p.unversioned (table_id, image) SELECT 1, to_jsonb(n) FROM new_rows AS n;
WHEN 'DELETE' THEN INSERT INTO p2p.unversioned (table_id, image) SELECT 1, to_jsonb(o) FROM old_rows AS o;
WHEN 'TRUNCATE' THEN INSERT INTO p2p.sweep (table_id) VALUES (1);
END CASE;
    END;
  END IF;

  IF pg_sequence_last_value('p2p.wakeup'::regclass) > now_us THEN PERFORM pg_notify('p2p', ''); END IF;
  RETURN NULL;
END
$function$

CREATE OR REPLACE FUNCTION p2p.clock()
 RETURNS bigint
 LANGUAGE sql
AS $function$
  SELECT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8
$function$

CREATE OR REPLACE FUNCTION p2p.digest(value jsonb)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT sha256(convert_to($1::text, 'UTF8'))
$function$

CREATE OR REPLACE FUNCTION p2p.fields_of_write(fields jsonb, stamp bigint, origin text, kept jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT jsonb_object_agg(k.key, e.entry)
  FROM jsonb_each($4) AS k, LATERAL (SELECT $1 -> k.key AS was, jsonb_build_array($2, $3) AS own) AS f,
    LATERAL (SELECT CASE jsonb_typeof(k.value)
      WHEN 'array' THEN (
        SELECT jsonb_build_object('keys', jsonb_object_agg(n.name, coalesce(f.was -> 'keys' -> n.name, f.was -> 'at', f.own)))
        FROM jsonb_array_elements_text(k.value) AS n (name))
      ELSE jsonb_build_object('at', coalesce(f.was -> 'at', f.own)) || coalesce(f.was - 'at', '{}')
    END AS entry) AS e
$function$

CREATE OR REPLACE FUNCTION p2p.fits_1(relation regclass)
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM d.ctid FROM public.items AS d WHERE false AND p2p.alike(d.id, NULL::uuid) AND p2p.alike(d.line, NULL::integer) GROUP BY d.id, d.line;
  RETURN $1 = 'public.items'::regclass;
EXCEPTION WHEN others THEN RETURN false;
END
$function$

CREATE OR REPLACE FUNCTION p2p.has_1(uuid, integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RETURN EXISTS (SELECT FROM public.items AS d WHERE d.id OPERATOR(pg_catalog.=) $1::uuid AND d.line OPERATOR(pg_catalog.=) $2::integer);
END
$function$

CREATE OR REPLACE FUNCTION p2p.highest_stamp(siblings jsonb)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT max((s->>'stamp')::int8) FROM jsonb_array_elements($1) AS s
$function$

CREATE OR REPLACE FUNCTION p2p.kept_keys(before jsonb, after jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT jsonb_agg(e.key)
  FROM jsonb_each(CASE WHEN jsonb_typeof($1) = 'object' AND jsonb_typeof($2) = 'object' THEN $2 END) AS e
  -- As text: 1.0 and 1.00 are equal to jsonb.
  WHERE ($1 -> e.key)::text = e.value::text
$function$

CREATE OR REPLACE FUNCTION p2p.key_digest(key text[])
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT sha256(convert_to(to_json($1)::text, 'UTF8'))
$function$

CREATE OR REPLACE FUNCTION p2p.past_of_write(past jsonb, origin text, stamp bigint, siblings jsonb, writer text)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$

CREATE OR REPLACE FUNCTION p2p.renamed(object jsonb, names jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE jsonb_typeof($1) WHEN 'object'
    THEN (SELECT coalesce(jsonb_object_agg(coalesce($2 ->> e.key, e.key), e.value), '{}') FROM jsonb_each($1) AS e) ELSE $1 END
$function$

CREATE OR REPLACE FUNCTION p2p.sound_fields(fields jsonb, stamp bigint, origin text, past jsonb, composed boolean)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$

CREATE OR REPLACE FUNCTION p2p.stamp()
 RETURNS bigint
 LANGUAGE sql
AS $function$
  SELECT greatest(p2p.clock(), pg_catalog.pg_sequence_last_value('p2p.forgotten'::regclass) + 1)
$function$

CREATE OR REPLACE FUNCTION p2p.torn(relation text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
BEGIN
  RAISE EXCEPTION 'A row of % is live by its version and missing in the table', relation USING ERRCODE = 'P2001';
END
$function$

CREATE OR REPLACE FUNCTION p2p.unmet(reference text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
BEGIN
  RAISE EXCEPTION 'A row would stand without the row that it refers to (%)', reference USING ERRCODE = 'P2003', CONSTRAINT = reference;
END
$function$

CREATE OR REPLACE FUNCTION p2p.unsettled()
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
BEGIN
  RAISE EXCEPTION 'Rows are parked that may stand now' USING ERRCODE = 'P2005';
END
$function$

CREATE OR REPLACE FUNCTION p2p.without(siblings jsonb, stamp bigint, origin text)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT jsonb_agg(s.version ORDER BY s.place) FROM jsonb_array_elements($1) WITH ORDINALITY AS s (version, place)
  WHERE (s.version ->> 'stamp')::int8 <> $2 OR s.version ->> 'origin' <> $3
$function$

CREATE TRIGGER p2p_delete AFTER DELETE ON public.items REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION p2p.capture_1() -- A

CREATE TRIGGER p2p_insert AFTER INSERT ON public.items REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION p2p.capture_1() -- A

CREATE TRIGGER p2p_truncate AFTER TRUNCATE ON public.items FOR EACH STATEMENT EXECUTE FUNCTION p2p.capture_1() -- A

CREATE TRIGGER p2p_update AFTER UPDATE ON public.items REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION p2p.capture_1() -- A
