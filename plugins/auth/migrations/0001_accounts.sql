CREATE TABLE auth.account (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('human', 'agent', 'service')),
    -- As its owner writes it, and as it is compared: two addresses of one key are one person's.
    email text NOT NULL DEFAULT '' CHECK (char_length(email) <= 320),
    email_key text UNIQUE CHECK (char_length(email_key) <= 1000),
    email_verified timestamptz,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    role text NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'admin', 'member')),
    password text CHECK (char_length(password) <= 500),
    disabled timestamptz,
    disabled_reason text NOT NULL DEFAULT '' CHECK (char_length(disabled_reason) <= 500),
    -- Tokens of an earlier epoch are void.
    epoch integer NOT NULL DEFAULT 0,
    version integer NOT NULL DEFAULT 1,
    made_by uuid REFERENCES auth.account,
    created timestamptz NOT NULL
);
CREATE UNIQUE INDEX account_one_owner ON auth.account (role) WHERE role = 'owner';
CREATE INDEX account_created ON auth.account (created, id);
CREATE INDEX account_name ON auth.account (name, id);
CREATE INDEX account_made_by ON auth.account (made_by) WHERE made_by IS NOT NULL;

-- Who somebody is at another issuer.
CREATE TABLE auth.identity (
    issuer text NOT NULL CHECK (char_length(issuer) <= 500),
    subject text NOT NULL CHECK (char_length(subject) <= 255),
    account uuid NOT NULL REFERENCES auth.account ON DELETE CASCADE,
    created timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identity_account ON auth.identity (account);

CREATE TABLE auth.session (
    id uuid PRIMARY KEY,
    account uuid NOT NULL REFERENCES auth.account ON DELETE CASCADE,
    method text NOT NULL CHECK (char_length(method) <= 100),
    address text NOT NULL CHECK (char_length(address) <= 64),
    agent text NOT NULL CHECK (char_length(agent) <= 200),
    refresh bytea NOT NULL,
    refresh_before bytea,
    refreshed timestamptz NOT NULL,
    created timestamptz NOT NULL,
    expires timestamptz NOT NULL,
    ended timestamptz,
    reason text NOT NULL DEFAULT '' CHECK (char_length(reason) <= 100)
);
CREATE INDEX session_account ON auth.session (account, id) WHERE ended IS NULL;
CREATE INDEX session_expires ON auth.session (expires);

CREATE TABLE auth.api_key (
    id uuid PRIMARY KEY,
    account uuid NOT NULL REFERENCES auth.account ON DELETE CASCADE,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    prefix text NOT NULL UNIQUE CHECK (char_length(prefix) <= 20),
    hash bytea NOT NULL,
    scopes text[],
    expires timestamptz,
    used timestamptz,
    ended timestamptz,
    created timestamptz NOT NULL
);
CREATE INDEX api_key_account ON auth.api_key (account, id) WHERE ended IS NULL;

-- What a signed link is good for, once.
CREATE TABLE auth.link (
    id uuid PRIMARY KEY,
    purpose text NOT NULL CHECK (char_length(purpose) <= 40),
    account uuid REFERENCES auth.account ON DELETE CASCADE,
    data jsonb NOT NULL DEFAULT '{}' CHECK (octet_length(data::text) <= 10000),
    created timestamptz NOT NULL,
    expires timestamptz,
    used timestamptz
);
CREATE UNIQUE INDEX link_one_setup ON auth.link (purpose) WHERE purpose = 'setup' AND used IS NULL;
CREATE INDEX link_account ON auth.link (account, purpose) WHERE used IS NULL;
CREATE INDEX link_expires ON auth.link (expires);

-- What would be sent by e-mail where nothing sends e-mail.
CREATE TABLE auth.letter (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (char_length(kind) <= 40),
    recipient text NOT NULL CHECK (char_length(recipient) <= 320),
    link text NOT NULL CHECK (char_length(link) <= 2000),
    created timestamptz NOT NULL
);
CREATE INDEX letter_created ON auth.letter (created);

CREATE TABLE auth.totp (
    account uuid PRIMARY KEY REFERENCES auth.account ON DELETE CASCADE,
    secret bytea NOT NULL,
    confirmed timestamptz,
    -- The time step of the last code that was taken: each code is good once.
    step bigint NOT NULL DEFAULT 0
);
CREATE TABLE auth.recovery_code (
    account uuid NOT NULL REFERENCES auth.account ON DELETE CASCADE,
    hash bytea NOT NULL,
    PRIMARY KEY (account, hash)
);

CREATE TABLE auth.signing_key (
    kid text PRIMARY KEY CHECK (char_length(kid) <= 100),
    state text NOT NULL CHECK (state IN ('next', 'active', 'retiring')),
    -- PKCS#8, sealed.
    private bytea NOT NULL,
    created timestamptz NOT NULL,
    activated timestamptz,
    retired timestamptz
);
CREATE UNIQUE INDEX signing_key_one ON auth.signing_key (state) WHERE state <> 'retiring';
