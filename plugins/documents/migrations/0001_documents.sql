-- Folders and documents. What is in a document is in the room of its id; here is what lists need to know of it.

CREATE TABLE documents.folder (
    id uuid PRIMARY KEY,
    workspace uuid NOT NULL,
    parent uuid REFERENCES documents.folder,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
    created timestamptz NOT NULL,
    created_by text NOT NULL CHECK (char_length(created_by) <= 256),
    updated timestamptz NOT NULL,
    trashed timestamptz,
    -- What was put into the trash as a whole: this folder, or one above it.
    trashed_with uuid,
    version bigint NOT NULL DEFAULT 1,
    CHECK ((trashed IS NULL) = (trashed_with IS NULL))
);
CREATE INDEX folder_parent ON documents.folder (parent);
CREATE INDEX folder_by_name ON documents.folder (workspace, lower(name), id);
CREATE INDEX folder_trashed ON documents.folder (trashed) WHERE trashed IS NOT NULL;
CREATE INDEX folder_trashed_with ON documents.folder (trashed_with) WHERE trashed_with IS NOT NULL;

CREATE TABLE documents.document (
    id uuid PRIMARY KEY,
    workspace uuid NOT NULL,
    folder uuid REFERENCES documents.folder,
    title text NOT NULL CHECK (char_length(title) <= 500),
    created timestamptz NOT NULL,
    created_by text NOT NULL CHECK (char_length(created_by) <= 256),
    updated timestamptz NOT NULL,
    -- The content, as relays tell of it: some seconds late.
    edited timestamptz NOT NULL,
    edited_by text NOT NULL CHECK (char_length(edited_by) <= 256),
    locked boolean NOT NULL DEFAULT false,
    archived timestamptz,
    trashed timestamptz,
    trashed_by text CHECK (char_length(trashed_by) <= 256),
    trashed_with uuid,
    version bigint NOT NULL DEFAULT 1,
    CHECK ((trashed IS NULL) = (trashed_with IS NULL))
);
CREATE INDEX document_folder ON documents.document (folder) WHERE folder IS NOT NULL;
CREATE INDEX document_by_edited ON documents.document (edited, id) WHERE trashed IS NULL;
CREATE INDEX document_workspace_by_edited ON documents.document (workspace, edited, id) WHERE trashed IS NULL;
CREATE INDEX document_workspace_by_created ON documents.document (workspace, created, id) WHERE trashed IS NULL;
CREATE INDEX document_workspace_by_title ON documents.document (workspace, lower(title), id) WHERE trashed IS NULL;
CREATE INDEX document_trashed ON documents.document (trashed) WHERE trashed IS NOT NULL;
CREATE INDEX document_trashed_with ON documents.document (trashed_with) WHERE trashed_with IS NOT NULL;

-- Contents as they were read by those who may write, so that a body made from one can be rebased.
CREATE TABLE documents.base (
    document uuid NOT NULL REFERENCES documents.document ON DELETE CASCADE,
    tag text NOT NULL CHECK (char_length(tag) <= 64),
    state bytea NOT NULL,
    used timestamptz NOT NULL,
    PRIMARY KEY (document, tag)
);
ALTER TABLE documents.base ALTER COLUMN state SET STORAGE EXTERNAL;  -- compressed already
CREATE INDEX base_used ON documents.base (used);

-- Bytes of attachments, each once, by their SHA-256. `chunk` holds them unless a directory does.
CREATE TABLE documents.blob (
    sha256 bytea PRIMARY KEY CHECK (length(sha256) = 32),
    size bigint NOT NULL CHECK (size >= 0),
    touched timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE documents.chunk (
    upload uuid NOT NULL,
    number integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (upload, number)
);
ALTER TABLE documents.chunk ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE documents.upload (
    id uuid PRIMARY KEY,
    sha256 bytea UNIQUE REFERENCES documents.blob ON DELETE CASCADE,
    began timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE documents.chunk ADD FOREIGN KEY (upload) REFERENCES documents.upload ON DELETE CASCADE;

CREATE TABLE documents.attachment (
    id uuid PRIMARY KEY,
    document uuid NOT NULL REFERENCES documents.document ON DELETE CASCADE,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
    media_type text NOT NULL CHECK (char_length(media_type) <= 127),
    size bigint NOT NULL,
    sha256 bytea NOT NULL REFERENCES documents.blob,
    created timestamptz NOT NULL,
    created_by text NOT NULL CHECK (char_length(created_by) <= 256)
);
CREATE INDEX attachment_document ON documents.attachment (document, created, id);
CREATE INDEX attachment_sha256 ON documents.attachment (sha256);
