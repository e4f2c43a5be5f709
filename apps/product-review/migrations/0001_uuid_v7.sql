-- Keys that any node can make alone and that sort by the time they were made: UUID version 7 (RFC 9562, section 5.7).
--
--   48 bits  milliseconds since 1970        12 bits  the fraction of that millisecond, in 1/4096
--    4 bits  version, 7                       2 bits  variant, 10, and 62 random bits from gen_random_uuid()
--
-- The fraction stands in rand_a (method 3 of section 6.2), so that keys made within one millisecond sort as they were
-- made. A session remembers its last tick and never goes back, not even when the clock does. PostgreSQL 18 has uuidv7()
-- of its own; this name differs, so that the same migration runs on 15 and later.
CREATE FUNCTION public.uuid_v7() RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
  -- One tick is 1/4096 of a millisecond: milliseconds << 12 | fraction, 53 bits until the year 2039, 60 at most.
  tick bigint := floor(extract(epoch FROM clock_timestamp()) * 4096000);
  last bigint := nullif(current_setting('product_review.last_uuid_tick', true), '');
BEGIN
  IF last >= tick THEN
    tick := last + 1;
  END IF;
  PERFORM set_config('product_review.last_uuid_tick', tick::text, false);
  RETURN (lpad(to_hex(tick >> 12), 12, '0')
    || '7' || lpad(to_hex(tick & 4095), 3, '0')
    -- What follows the version's group in a version 4 UUID has the right variant already.
    || substr(gen_random_uuid()::text, 20))::uuid;
END
$$;
