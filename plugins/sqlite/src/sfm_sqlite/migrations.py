"""The schema of the storage file: a numbered list of steps, each applied once, in one transaction.

No text of a memory may survive its erasure, and SQLite leaves stale copies of a row in its pages whenever it moves the row
between them (also with `secure_delete`). So texts live only in tables whose rows never move: they are appended, never
grow, and are emptied in place (`bodies`, `terms`, `wordlists`, `links`). Everything else holds numbers and 64-bit keys.
"""

from __future__ import annotations

__all__ = ["APPLICATION_ID", "STEPS"]

APPLICATION_ID = 0x53464D31
"""Marks a file as ours: "SFM1"."""

_BASE = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('erasures', 0);

CREATE TABLE namespaces (
    num INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    vocabulary INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE bodies (
    num INTEGER PRIMARY KEY,
    kind INTEGER,
    content TEXT,
    payload TEXT,
    coordinate TEXT,
    author TEXT,
    thread TEXT,
    position INTEGER,
    importance REAL,
    tags TEXT,
    source TEXT,
    pinned INTEGER,
    occurred_at INTEGER,
    valid_from INTEGER,
    valid_to INTEGER,
    expires_at INTEGER,
    derived_from TEXT,
    created_at INTEGER
);

CREATE TABLE records (
    num INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    ns INTEGER NOT NULL,
    body INTEGER NOT NULL,
    version INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    operation TEXT,
    created_at INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    expires_at INTEGER,
    thread INTEGER,
    position INTEGER,
    coordinate INTEGER,
    author_key INTEGER,
    author INTEGER,
    digest INTEGER NOT NULL,
    importance REAL NOT NULL,
    length INTEGER NOT NULL,
    asks REAL NOT NULL,
    traits INTEGER NOT NULL,
    terms BLOB NOT NULL
);
CREATE UNIQUE INDEX records_id ON records (id);
CREATE INDEX records_created ON records (ns, created_at);
CREATE INDEX records_occurred ON records (ns, occurred_at) WHERE deleted = 0;
CREATE INDEX records_thread ON records (ns, thread, position, id, expires_at)
    WHERE deleted = 0 AND thread IS NOT NULL AND position IS NOT NULL;
CREATE INDEX records_twins ON records (digest, ns, thread, position, occurred_at) WHERE deleted = 0;
CREATE INDEX records_author ON records (ns, author_key, author) WHERE deleted = 0 AND author_key IS NOT NULL;
CREATE INDEX records_coordinate ON records (ns, coordinate) WHERE deleted = 0 AND coordinate IS NOT NULL;
CREATE INDEX records_expiry ON records (expires_at) WHERE deleted = 0 AND expires_at IS NOT NULL;

CREATE TABLE past (
    num INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    until INTEGER NOT NULL,
    terms BLOB,
    PRIMARY KEY (num, version)
) WITHOUT ROWID;

CREATE TABLE erased (id BLOB PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    num INTEGER NOT NULL,
    version INTEGER NOT NULL,
    ns INTEGER NOT NULL,
    type INTEGER NOT NULL,
    time INTEGER NOT NULL,
    target BLOB
);

CREATE TABLE links (
    num INTEGER PRIMARY KEY,
    source INTEGER,
    target INTEGER,
    key INTEGER,
    relation TEXT,
    weight REAL,
    metadata TEXT,
    ns INTEGER,
    created_at INTEGER,
    updated_at INTEGER,
    sequence INTEGER
);
CREATE INDEX links_source ON links (source, target, key) WHERE source IS NOT NULL;
CREATE INDEX links_target ON links (target) WHERE target IS NOT NULL;

CREATE TABLE cursors (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE operations (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    principal TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    undo_until INTEGER,
    undone_at INTEGER
) WITHOUT ROWID;

CREATE TABLE members (
    operation TEXT NOT NULL,
    id BLOB NOT NULL,
    version INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (operation, id)
) WITHOUT ROWID;

CREATE TABLE answers (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    request BLOB NOT NULL,
    answer BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX answers_expiry ON answers (expires_at);

CREATE TABLE terms (num INTEGER PRIMARY KEY, key INTEGER, stem TEXT);
CREATE INDEX terms_key ON terms (key) WHERE key IS NOT NULL;

CREATE TABLE words (num INTEGER PRIMARY KEY, ns INTEGER, key INTEGER, word TEXT, stem TEXT);
CREATE INDEX words_key ON words (ns, key) WHERE ns IS NOT NULL;
"""

_WORD_LISTS = """
CREATE TABLE wordlists (num INTEGER PRIMARY KEY, ns INTEGER NOT NULL, words TEXT NOT NULL);
CREATE INDEX wordlists_ns ON wordlists (ns);
INSERT INTO wordlists (ns, words)
    SELECT ns, json_group_array(json_array(word, stem)) FROM (SELECT * FROM words WHERE ns IS NOT NULL ORDER BY num)
    GROUP BY ns;
DROP TABLE words;
ALTER TABLE namespaces RENAME COLUMN vocabulary TO removals;
"""
"""A row holds the words that one transaction brought to a namespace: a row and an index entry for each word halved the
speed of writing."""

_LEASES = """
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
"""

_API_KEYS = """
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    namespaces TEXT NOT NULL,
    verbs TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) WITHOUT ROWID;
"""

STEPS: tuple[str, ...] = (_BASE, _WORD_LISTS, _LEASES, _API_KEYS)
"""Step n (from 1) brings a file from version n - 1 to n; a released step never changes."""
