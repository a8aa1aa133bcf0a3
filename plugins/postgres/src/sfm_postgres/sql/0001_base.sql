-- Texts are compared by code point (COLLATE "C") and hold no NUL (see sfm_postgres.adapt.escape).

CREATE TABLE {s}.memories (
    id uuid PRIMARY KEY,
    namespace text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    content text COLLATE "C",
    payload json,
    coordinate float8[],
    author text COLLATE "C",
    thread text COLLATE "C",
    position bigint,
    importance float8 NOT NULL,
    tags text[] COLLATE "C" NOT NULL,
    source text COLLATE "C",
    pinned boolean NOT NULL,
    occurred_at timestamptz NOT NULL,
    valid_from timestamptz,
    valid_to timestamptz,
    expires_at timestamptz,
    derived_from text[] COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    -- the operation that deleted it
    operation text COLLATE "C",
    -- the payload as filters see it: numbers in canonical form; NULL when it is empty
    data jsonb,
    -- stands for namespace, content and payload
    twin uuid NOT NULL,
    -- stands for namespace and coordinate while it holds that place
    place uuid,
    -- sorted keys of the index terms, repeats kept, and of the scopes it lies in
    terms bigint[] NOT NULL,
    -- keys of its distinct words
    words integer[] NOT NULL,
    author_key bigint,
    length integer NOT NULL,
    asks float8 NOT NULL,
    has_time boolean NOT NULL,
    has_duration boolean NOT NULL
);
CREATE INDEX memories_twin ON {s}.memories (twin) WHERE NOT deleted;
CREATE UNIQUE INDEX memories_place ON {s}.memories (place) WHERE place IS NOT NULL;
CREATE INDEX memories_created ON {s}.memories (namespace, created_at, id) INCLUDE (deleted, length, expires_at);
CREATE INDEX memories_occurred ON {s}.memories (namespace, occurred_at, id);
CREATE INDEX memories_thread ON {s}.memories (namespace, thread, position, id)
    WHERE thread IS NOT NULL AND position IS NOT NULL AND NOT deleted;
CREATE INDEX memories_coordinate ON {s}.memories (namespace, coordinate)
    WHERE coordinate IS NOT NULL AND NOT deleted;
CREATE INDEX memories_author ON {s}.memories (author_key, namespace, author)
    WHERE author_key IS NOT NULL AND NOT deleted;
CREATE INDEX memories_expires ON {s}.memories (expires_at) WHERE expires_at IS NOT NULL AND NOT deleted;
-- The pending list is kept short, because every search reads it.
CREATE INDEX memories_search ON {s}.memories USING gin (terms, data jsonb_path_ops, tags)
    WITH (fastupdate = on, gin_pending_list_limit = 512);

-- Versions that were the newest until `until`.
CREATE TABLE {s}.past (
    LIKE {s}.memories,
    until timestamptz NOT NULL,
    PRIMARY KEY (id, version)
);
CREATE INDEX past_updated ON {s}.past (namespace, updated_at);
CREATE INDEX past_terms ON {s}.past USING gin (terms);

CREATE TABLE {s}.erased (
    id uuid PRIMARY KEY
);

-- The change log. Sequences are given under a lock that is held until the commit, so they rise in commit order.
CREATE TABLE {s}.changes (
    sequence bigint PRIMARY KEY,
    type text COLLATE "C" NOT NULL,
    memory_id uuid NOT NULL,
    version bigint NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    time timestamptz NOT NULL,
    target uuid,
    operation text COLLATE "C"
);
CREATE INDEX changes_memory ON {s}.changes (memory_id, version, sequence);
CREATE INDEX changes_namespace ON {s}.changes (namespace, sequence);
CREATE INDEX changes_operation ON {s}.changes (operation, memory_id, version, sequence) WHERE operation IS NOT NULL;

CREATE TABLE {s}.links (
    source uuid NOT NULL,
    target uuid NOT NULL,
    relation text COLLATE "C" NOT NULL,
    weight float8 NOT NULL,
    metadata json NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (source, target, relation)
);
CREATE INDEX links_target ON {s}.links (target);
CREATE INDEX links_namespace ON {s}.links (namespace, source, target, relation);

CREATE TABLE {s}.operations (
    id text COLLATE "C" PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    undo_until timestamptz,
    undone_at timestamptz
);

-- Answers kept with idempotency keys; sequences below zero in them count from `base`.
CREATE TABLE {s}.answers (
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    request bytea NOT NULL,
    answer bytea NOT NULL,
    base bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX answers_expires ON {s}.answers (expires_at);

CREATE TABLE {s}.cursors (
    name text COLLATE "C" PRIMARY KEY,
    sequence bigint NOT NULL
);

CREATE TABLE {s}.leases (
    name text COLLATE "C" PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    token bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

-- The vocabulary. `held` is what a memory's terms contain that may hold the word, `mark` its key among a memory's words.
CREATE TABLE {s}.words (
    namespace text COLLATE "C" NOT NULL,
    key bigint NOT NULL,
    mark integer NOT NULL,
    held bigint[] NOT NULL,
    word text COLLATE "C" NOT NULL,
    stem text COLLATE "C" NOT NULL,
    num bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (namespace, mark, key)
);

-- Which namespaces a running transaction brought new words for; empty for everybody else.
CREATE TABLE {s}.new_words (
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    namespace text COLLATE "C" NOT NULL
);

-- How often the words of a namespace changed, and how often some of them were removed.
CREATE TABLE {s}.vocabularies (
    namespace text COLLATE "C" PRIMARY KEY,
    changed bigint NOT NULL,
    removed bigint NOT NULL
);
