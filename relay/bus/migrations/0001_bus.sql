-- Events that are committed and not published yet. `body` is a serialized materi.v1.Envelope everywhere.
CREATE TABLE bus.outbox (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event   uuid NOT NULL,
    time    timestamptz NOT NULL,
    topic   text NOT NULL,
    type    text NOT NULL,
    subject text NOT NULL,
    actor   text NOT NULL,
    body    bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Positions are given out when events are published, by one publisher at a time, so that they become visible in order:
-- who has read up to one misses nothing. They are the entries' ids in the Redis Streams as well (`<position>-0`).
CREATE SEQUENCE bus.position;

-- Every event there was. By month of the event's own time, which its id (UUIDv7) contains.
CREATE TABLE bus.event (
    position bigint NOT NULL,
    id       uuid NOT NULL,
    time     timestamptz NOT NULL,
    topic    text NOT NULL,
    type     text NOT NULL,
    subject  text NOT NULL,
    actor    text NOT NULL,
    body     bytea NOT NULL
) PARTITION BY RANGE (time);
CREATE INDEX event_position ON bus.event (position);
CREATE INDEX event_id ON bus.event (id);
CREATE INDEX event_type ON bus.event (type, position);
CREATE INDEX event_subject ON bus.event (subject, position);
-- What falls into no month that was created ahead; moved when its month is created.
CREATE TABLE bus.event_default PARTITION OF bus.event DEFAULT;

-- The last position that was published of each topic.
CREATE TABLE bus.topic (
    name     text PRIMARY KEY,
    position bigint NOT NULL
);

-- Where each group is in each topic: everything up to `position` is settled. `generation` is part of the group's name in
-- Redis: another one makes it begin again from `position`. `replay` is how far it reads from bus.event before it reads
-- the stream; -1 when that is to be found out; NULL when it reads the stream.
CREATE TABLE bus.consumer (
    name       text NOT NULL,
    topic      text NOT NULL,
    generation integer NOT NULL DEFAULT 1,
    position   bigint NOT NULL,
    replay     bigint DEFAULT -1,
    paused     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (name, topic)
) WITH (fillfactor = 50);

-- The events that a group has handled; the ids sort by time, so old ones are a range of the key.
CREATE TABLE bus.handled (
    name  text NOT NULL,
    event uuid NOT NULL,
    PRIMARY KEY (name, event)
);

-- Events that a group gave up. `body` is what is tried when it is redriven; `original` what it was before it was edited.
CREATE TABLE bus.dead_letter (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     text NOT NULL,
    topic    text NOT NULL,
    position bigint NOT NULL,
    body     bytea NOT NULL,
    original bytea,
    error    text NOT NULL,
    attempts integer NOT NULL,
    failed   timestamptz NOT NULL DEFAULT now(),
    redrive  boolean NOT NULL DEFAULT false,
    UNIQUE (name, topic, position)
);
CREATE INDEX dead_letter_redrive ON bus.dead_letter (name, id) WHERE redrive;
