-- The archive by months, so that a month can be dropped instead of deleted from (relay.snapshot.partitions).
-- What is there stays where it is: the table becomes the partition of everything before the month after its newest row.
-- The key stays: the month is that of `last_ms`, the journal's clock when the block's last entry was appended.

ALTER TABLE relay.archive RENAME TO archive_before;
ALTER INDEX relay.archive_pkey RENAME TO archive_before_pkey;

CREATE TABLE relay.archive (
    room        text COLLATE "C" NOT NULL,
    first_epoch bigint NOT NULL,
    first_ms    bigint NOT NULL,
    first_seq   bigint NOT NULL,
    last_epoch  bigint NOT NULL,
    last_ms     bigint NOT NULL,
    last_seq    bigint NOT NULL,
    entries     integer NOT NULL,
    block       bytea NOT NULL,
    PRIMARY KEY (room, last_epoch, last_ms, last_seq)
) PARTITION BY RANGE (last_ms);
ALTER TABLE relay.archive ALTER COLUMN block SET STORAGE EXTERNAL;  -- compressed already

-- Takes what no month is made for: when nobody could make it in time, or a clock is far ahead.
CREATE TABLE relay.archive_default PARTITION OF relay.archive DEFAULT;

DO $$
DECLARE
    month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month';
    bound bigint := extract(epoch FROM month) * 1000;
    name text := 'archive_before_' || to_char(month, 'YYYY_MM');
BEGIN
    WITH ahead AS (DELETE FROM relay.archive_before WHERE last_ms >= bound RETURNING *)
    INSERT INTO relay.archive_default SELECT * FROM ahead;
    EXECUTE format('ALTER TABLE relay.archive_before RENAME TO %I', name);
    EXECUTE format('ALTER INDEX relay.archive_before_pkey RENAME TO %I', name || '_pkey');
    EXECUTE format('ALTER TABLE relay.archive ATTACH PARTITION relay.%I FOR VALUES FROM (MINVALUE) TO (%s)', name, bound);
END
$$;
