-- Capture for {{name}}: one set-based statement per write, after it, on what the transition tables hold.
--
-- A version's stamp is the clock or the row's former stamp plus one, read under the row's lock (traps 4, 5). Rows whose image
-- did not change are left alone (trap 20). A statement can be followed by others, run by a user's row triggers, before this
-- trigger fires: a live row is looked up again in a transaction in which such nesting was seen ("nested"), and a deleted one
-- where the transaction had written it before.
-- Suppressed only by the id of the very transaction that applies a window (trap 31).
--
-- A table that was renamed, or whose key was, is no longer what the statements below name: they would fail, and the user's write
-- with them. What is written until the node has made this function anew is put aside as images, and given its versions then.
CREATE OR REPLACE FUNCTION {{capture}}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp{{settings}} AS $capture$
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
    OR current_setting('transaction_isolation') <> 'read committed' OR NOT {{fits}}('{{oid}}'::regclass)
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
    fit := {{fits}}('{{oid}}'::regclass);
    read_committed := current_setting('transaction_isolation') = 'read committed';
  END IF;

  IF NOT fit THEN
    {{aside}}
  ELSIF read_committed THEN
    {{versions}}
  ELSE
    BEGIN
      {{versions}}
    EXCEPTION WHEN serialization_failure THEN
      {{aside}}
    END;
  END IF;

  IF pg_sequence_last_value('p2p.wakeup'::regclass) > now_us THEN PERFORM pg_notify('p2p', ''); END IF;
  RETURN NULL;
END
$capture$;
