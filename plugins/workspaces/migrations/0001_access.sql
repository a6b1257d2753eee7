-- Rights are bits: read 1, comment 2, write 4, share 8, manage 16, delete 32, own 64. 0 is an explicit "none".

CREATE TABLE workspaces.workspace (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    description text NOT NULL DEFAULT '' CHECK (char_length(description) <= 2000),
    version integer NOT NULL DEFAULT 1,
    created timestamptz NOT NULL,
    updated timestamptz NOT NULL,
    trashed timestamptz,
    purge_after timestamptz CHECK ((purge_after IS NULL) = (trashed IS NULL))
);
CREATE INDEX workspace_purge ON workspaces.workspace (purge_after) WHERE purge_after IS NOT NULL;

-- Sets of rights with a name of the workspace's own.
CREATE TABLE workspaces.role (
    id uuid PRIMARY KEY,
    workspace uuid NOT NULL REFERENCES workspaces.workspace ON DELETE CASCADE,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    rights smallint NOT NULL CHECK (rights & 1 = 1 AND rights < 64),
    version integer NOT NULL DEFAULT 1,
    created timestamptz NOT NULL
);
CREATE UNIQUE INDEX role_name ON workspaces.role (workspace, lower(name));

-- `rights` are those of the role, custom or not, at this moment: whoever changes a custom role writes them here.
CREATE TABLE workspaces.member (
    workspace uuid NOT NULL REFERENCES workspaces.workspace ON DELETE CASCADE,
    account uuid NOT NULL,
    rights smallint NOT NULL CHECK (rights & 1 = 1 AND rights < 128),
    role uuid REFERENCES workspaces.role,
    version integer NOT NULL DEFAULT 1,
    joined timestamptz NOT NULL,
    PRIMARY KEY (workspace, account)
);
CREATE INDEX member_account ON workspaces.member (account, workspace);
CREATE INDEX member_role ON workspaces.member (role) WHERE role IS NOT NULL;

-- "group" is a word of SQL.
CREATE TABLE workspaces.team (
    id uuid PRIMARY KEY,
    workspace uuid NOT NULL REFERENCES workspaces.workspace ON DELETE CASCADE,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    version integer NOT NULL DEFAULT 1,
    created timestamptz NOT NULL
);
CREATE UNIQUE INDEX team_name ON workspaces.team (workspace, lower(name));

CREATE TABLE workspaces.team_member (
    team uuid NOT NULL REFERENCES workspaces.team ON DELETE CASCADE,
    workspace uuid NOT NULL,
    account uuid NOT NULL,
    added timestamptz NOT NULL,
    PRIMARY KEY (team, account),
    FOREIGN KEY (workspace, account) REFERENCES workspaces.member ON DELETE CASCADE
);
CREATE INDEX team_member_account ON workspaces.team_member (account, team);
CREATE INDEX team_member_member ON workspaces.team_member (workspace, account);

-- The tree. A workspace is its own parent. `node`: grants may be said here, or inheritance ends here.
-- `policy`: the nearest node from here up, which is the same for everything that has the same grants.
-- `open`: nothing from here up to the workspace ends inheritance.
CREATE TABLE workspaces.resource (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('workspace', 'folder', 'document')),
    parent uuid NOT NULL REFERENCES workspaces.resource DEFERRABLE INITIALLY DEFERRED,
    workspace uuid NOT NULL REFERENCES workspaces.workspace ON DELETE CASCADE,
    owner uuid,
    inherits boolean NOT NULL DEFAULT true,
    node boolean NOT NULL DEFAULT false,
    policy uuid NOT NULL,
    open boolean NOT NULL DEFAULT true,
    version integer NOT NULL DEFAULT 1
);
CREATE INDEX resource_parent ON workspaces.resource (parent);
CREATE INDEX resource_workspace ON workspaces.resource (workspace, policy);
CREATE INDEX resource_policy ON workspaces.resource (policy);
CREATE INDEX resource_owner ON workspaces.resource (owner, workspace) WHERE owner IS NOT NULL;

-- Which nodes' grants reach a node, `depth` nodes up from it; ends where inheritance does.
CREATE TABLE workspaces.reach (
    node uuid NOT NULL REFERENCES workspaces.resource ON DELETE CASCADE,
    ancestor uuid NOT NULL REFERENCES workspaces.resource ON DELETE CASCADE,
    depth smallint NOT NULL,
    PRIMARY KEY (node, ancestor)
);
CREATE INDEX reach_ancestor ON workspaces.reach (ancestor) INCLUDE (node, depth);

-- `subject`: an account, a group (`team`) or a share link, as `kind` says.
CREATE TABLE workspaces.granted (
    resource uuid NOT NULL REFERENCES workspaces.resource ON DELETE CASCADE,
    subject uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('user', 'group', 'link')),
    rights smallint NOT NULL CHECK ((rights & 1 = 1 OR rights = 0) AND rights < 64),
    role uuid REFERENCES workspaces.role,
    expires timestamptz,
    made_by text NOT NULL CHECK (char_length(made_by) <= 256),
    made timestamptz NOT NULL,
    version integer NOT NULL DEFAULT 1,
    PRIMARY KEY (subject, resource)
);
CREATE INDEX granted_resource ON workspaces.granted (resource);
CREATE INDEX granted_expires ON workspaces.granted (expires) WHERE expires IS NOT NULL;
CREATE INDEX granted_role ON workspaces.granted (role) WHERE role IS NOT NULL;

-- What a link gives is the grant whose subject it is.
CREATE TABLE workspaces.link (
    id uuid PRIMARY KEY,
    resource uuid NOT NULL REFERENCES workspaces.resource ON DELETE CASCADE,
    hash bytea NOT NULL UNIQUE,
    label text NOT NULL DEFAULT '' CHECK (char_length(label) <= 200),
    password text CHECK (char_length(password) <= 500),
    domain text CHECK (char_length(domain) <= 255),
    max_uses integer CHECK (max_uses > 0),
    uses integer NOT NULL DEFAULT 0,
    made_by uuid NOT NULL,
    made timestamptz NOT NULL,
    last_used timestamptz
);
CREATE INDEX link_resource ON workspaces.link (resource, id);
CREATE INDEX link_made_by ON workspaces.link (made_by);

CREATE TABLE workspaces.invitation (
    id uuid PRIMARY KEY,
    workspace uuid NOT NULL REFERENCES workspaces.workspace ON DELETE CASCADE,
    hash bytea NOT NULL UNIQUE,
    email text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 320),
    rights smallint NOT NULL CHECK (rights & 1 = 1 AND rights < 128),
    role uuid REFERENCES workspaces.role,
    made_by uuid NOT NULL,
    made timestamptz NOT NULL,
    expires timestamptz NOT NULL
);
CREATE UNIQUE INDEX invitation_email ON workspaces.invitation (workspace, lower(email));
CREATE INDEX invitation_to ON workspaces.invitation (lower(email));
CREATE INDEX invitation_made_by ON workspaces.invitation (made_by);
CREATE INDEX invitation_role ON workspaces.invitation (role) WHERE role IS NOT NULL;

CREATE TABLE workspaces.request (
    id uuid PRIMARY KEY,
    resource uuid NOT NULL REFERENCES workspaces.resource ON DELETE CASCADE,
    account uuid NOT NULL,
    wanted text NOT NULL CHECK (wanted IN ('viewer', 'commenter', 'editor')),
    message text NOT NULL DEFAULT '' CHECK (char_length(message) <= 1000),
    made timestamptz NOT NULL,
    UNIQUE (resource, account)
);
CREATE INDEX request_account ON workspaces.request (account);

-- Bring `policy`, `open` and `reach` of a resource and all that hangs below it up to what `parent`, `node` and `inherits` say.
-- The caller holds the workspace's lock.
CREATE FUNCTION workspaces.rebuild(root uuid) RETURNS void LANGUAGE sql AS $$
    WITH RECURSIVE below AS (
        SELECT r.id, r.node, r.workspace, CASE
            WHEN r.id = r.parent OR r.node AND NOT r.inherits THEN ARRAY[r.id]
            WHEN r.node THEN r.id || up.nodes
            ELSE up.nodes END AS nodes
        FROM workspaces.resource r
        JOIN workspaces.resource p ON p.id = r.parent,
        LATERAL (SELECT ARRAY(
            SELECT x.ancestor FROM workspaces.reach x WHERE x.node = p.policy ORDER BY x.depth) AS nodes) up
        WHERE r.id = root
        UNION ALL
        SELECT c.id, c.node, c.workspace, CASE
            WHEN c.node AND NOT c.inherits THEN ARRAY[c.id]
            WHEN c.node THEN c.id || b.nodes
            ELSE b.nodes END
        FROM below b JOIN workspaces.resource c ON c.parent = b.id AND c.id <> b.id
    ), pointed AS (
        UPDATE workspaces.resource r SET policy = b.nodes[1], open = b.workspace = ANY (b.nodes)
        FROM below b
        WHERE r.id = b.id AND (r.policy <> b.nodes[1] OR r.open <> (b.workspace = ANY (b.nodes)))
    ), cut AS (
        DELETE FROM workspaces.reach x USING below b WHERE x.node = b.id AND NOT x.ancestor = ANY (b.nodes)
    )
    INSERT INTO workspaces.reach (node, ancestor, depth)
    SELECT b.id, up.ancestor, up.place - 1
    FROM below b, LATERAL unnest(b.nodes) WITH ORDINALITY AS up (ancestor, place) WHERE b.node
    ON CONFLICT (node, ancestor) DO UPDATE SET depth = excluded.depth WHERE reach.depth <> excluded.depth
$$;

-- What an account (or a link: then it has no groups and is no member) may do at each node that something said of it
-- reaches. Everywhere else a member may do what its role allows, where `open`; and owners of a workspace own all of it.
-- The rule is in plugins/workspaces/rule.py.
CREATE FUNCTION workspaces.decided(who uuid, moment timestamptz) RETURNS TABLE (node uuid, rights smallint)
LANGUAGE sql STABLE ROWS 200 AS $$
    WITH mine AS MATERIALIZED (
        SELECT g.resource, CASE g.kind WHEN 'group' THEN 2 ELSE 0 END AS rank, g.rights
        FROM workspaces.granted g
        WHERE g.subject = ANY (ARRAY(
                SELECT t.team FROM workspaces.team_member t WHERE t.account = who UNION ALL SELECT who))
            AND (g.expires IS NULL OR g.expires > moment)
    ), said AS (
        SELECT m.resource, m.rank, m.rights FROM mine m
        UNION ALL
        SELECT r.id, 1, 127::smallint
        FROM workspaces.member m
        JOIN workspaces.resource r ON r.owner = m.account AND r.workspace = m.workspace AND r.kind = 'folder'
        WHERE m.account = who AND m.rights & 4 = 4
        UNION ALL
        SELECT m.workspace, 2, m.rights FROM workspaces.member m
        WHERE m.account = who AND m.workspace IN (SELECT n.resource FROM mine n)
    )
    SELECT DISTINCT ON (at.node) at.node, at.rights FROM (
        SELECT x.node, x.depth, s.rank,
            CASE WHEN bool_or(s.rights = 0) THEN 0::smallint ELSE bit_or(s.rights) END AS rights
        FROM said s JOIN workspaces.reach x ON x.ancestor = s.resource
        GROUP BY x.node, x.depth, s.rank
    ) at ORDER BY at.node, at.depth, at.rank
$$;

-- The workspaces, not in the trash, that something in them may be open to an account or a link.
CREATE FUNCTION workspaces.concerning(who uuid) RETURNS uuid[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT w.id FROM workspaces.workspace w WHERE w.trashed IS NULL AND w.id IN (
            SELECT m.workspace FROM workspaces.member m WHERE m.account = who
            UNION
            SELECT r.workspace FROM workspaces.granted g JOIN workspaces.resource r ON r.id = g.resource
            WHERE g.subject = who))
$$;
