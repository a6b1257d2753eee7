CREATE TABLE visits.visit (
    room text NOT NULL,
    actor text NOT NULL,
    visits bigint NOT NULL DEFAULT 1,
    last timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room, actor)
);
