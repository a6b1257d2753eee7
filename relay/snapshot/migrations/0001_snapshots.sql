-- Everything of the relay's own lives in the schema `relay`, which the migration runner has made.
-- A position (relay.types.Position) is three columns, epoch, ms and seq, and is compared as a row.
-- Room names sort by their bytes (COLLATE "C"), so that a prefix is a range of the primary key in every locale.

-- What a listing says, one row a stored or quarantined room. The chain it sums up is in relay.segment.
CREATE TABLE relay.room (
    room        text COLLATE "C" PRIMARY KEY,
    size        bigint NOT NULL DEFAULT 0,
    segments    integer NOT NULL DEFAULT 0,
    upto_epoch  bigint,
    upto_ms     bigint,
    upto_seq    bigint,
    written     timestamptz NOT NULL DEFAULT now(),
    quarantined text,
    CHECK ((segments = 0) = (upto_epoch IS NULL))
) WITH (fillfactor = 80);  -- room on each page for the update that every store makes

-- A room's chain: links 0 .. n-1, each continuing where the one before ended. A link is replaced in place.
CREATE TABLE relay.segment (
    room        text COLLATE "C" NOT NULL,
    link        integer NOT NULL,
    after_epoch bigint,
    after_ms    bigint,
    after_seq   bigint,
    upto_epoch  bigint NOT NULL,
    upto_ms     bigint NOT NULL,
    upto_seq    bigint NOT NULL,
    state       bytea NOT NULL,
    clocks      bytea NOT NULL,
    PRIMARY KEY (room, link)
) WITH (
    fillfactor = 80,
    -- Replaced states are many dead rows of the TOAST table: clean them by the tens of megabytes, not by the share
    -- of the table that they are, and without the pauses that let them outrun the cleaning.
    autovacuum_vacuum_scale_factor = 0.05,
    toast.autovacuum_vacuum_scale_factor = 0.02,
    toast.autovacuum_vacuum_threshold = 5000,
    toast.autovacuum_vacuum_cost_delay = 0
);

-- Journal entries kept for good, many a row (relay.snapshot.archive). Blocks of one room never overlap, so their
-- ends order them. The key begins with the room and nothing refers to it: the table can be partitioned by room.
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
);
ALTER TABLE relay.archive ALTER COLUMN block SET STORAGE EXTERNAL;  -- compressed already

-- lz4 where the server has it (PostgreSQL 14, built with it): 20 MB of typed text as small as by pglz (0.6), written in
-- a third of the time and read in half of it.
DO $$
BEGIN
    EXECUTE 'ALTER TABLE relay.segment ALTER COLUMN state SET COMPRESSION lz4';
EXCEPTION
    WHEN feature_not_supported OR syntax_error OR invalid_parameter_value THEN NULL;
END
$$;
