-- What the REST conventions keep.

CREATE TABLE api_shim.secret (
    name text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 100),
    value bytea NOT NULL,
    created timestamptz NOT NULL DEFAULT now()
);

-- Answers by Idempotency-Key. `key` is a hash of principal, method, path and key. A row without a status is being
-- worked on until `leased`; the answer is encrypted with a key made from the client's own key, which is not kept.
CREATE TABLE api_shim.idempotency (
    key bytea PRIMARY KEY,
    body bytea NOT NULL,
    holder uuid NOT NULL,
    leased timestamptz NOT NULL,
    expires timestamptz NOT NULL,
    status smallint,
    response bytea
);
CREATE INDEX idempotency_expires ON api_shim.idempotency (expires);

CREATE TABLE api_shim.job (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (length(kind) BETWEEN 1 AND 100),
    owner text NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    progress double precision NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    note text NOT NULL DEFAULT '',
    result json,
    problem json,
    cancelling boolean NOT NULL DEFAULT false,
    created timestamptz NOT NULL DEFAULT now(),
    updated timestamptz NOT NULL DEFAULT now(),
    heartbeat timestamptz NOT NULL DEFAULT now(),
    finished timestamptz
);
CREATE INDEX job_owner ON api_shim.job (owner, created DESC, id DESC);
CREATE INDEX job_finished ON api_shim.job (finished) WHERE finished IS NOT NULL;
