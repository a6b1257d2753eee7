-- What was deleted, so that a relay that still has it in memory can't bring it back: nothing of the journal epochs up
-- to this one is stored again. The same name may begin again in a later epoch.
CREATE TABLE relay.deleted (
    room    text COLLATE "C" PRIMARY KEY,
    epoch   bigint NOT NULL,
    deleted timestamptz NOT NULL DEFAULT now()
);
