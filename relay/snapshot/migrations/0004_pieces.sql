-- A long state on its way in: its pieces (relay.snapshot.pieces) come one after the other, are put together on the
-- server, and are gone before the transaction that brought them ends. So nothing here needs to outlive a crash.
CREATE UNLOGGED TABLE relay.piece (
    room   text COLLATE "C" NOT NULL,
    number integer NOT NULL,
    piece  bytea NOT NULL,
    PRIMARY KEY (room, number)
) WITH (
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 5000,
    toast.autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE relay.piece ALTER COLUMN piece SET STORAGE EXTERNAL;  -- they are read back at once
