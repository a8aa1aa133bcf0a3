-- Takes the lock of the change log until the commit. A transaction that left words out because they were stored learns here
-- when some were removed since, and is run again: whoever removes words does so under this lock.
CREATE FUNCTION {s}.lock_log(lock_key bigint, in_namespaces text[], removals bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(lock_key);
    IF EXISTS (SELECT FROM unnest(in_namespaces, removals) AS e (name, count)
            LEFT JOIN {s}.vocabularies v ON v.namespace = e.name WHERE coalesce(v.removed, 0) <> e.count) THEN
        RAISE serialization_failure USING MESSAGE = 'words were removed meanwhile';
    END IF;
END $$;

-- Stores one new memory with its new words and its change, and returns the change's sequence. Does nothing and returns NULL
-- when anything is there that it could be a version or a twin of, when its id is taken, or when words of its namespace were
-- removed since the caller looked: then the caller has to look at what is there.
CREATE FUNCTION {s}.put_new(
    made {s}.memories, stripes bigint[], twins boolean, narrowed text[], removals bigint, lock_key bigint,
    scope_key bigint, new_keys bigint[], new_marks integer[], new_terms bigint[], new_words text[], new_stems text[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    brought boolean := false;
    given bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(stripe) FROM unnest(stripes) AS stripe;
    IF EXISTS (SELECT FROM {s}.memories m WHERE m.id = made.id)
        OR EXISTS (SELECT FROM {s}.erased e WHERE e.id = made.id)
        OR (made.place IS NOT NULL AND EXISTS (SELECT FROM {s}.memories m WHERE m.place = made.place))
        OR (twins AND EXISTS (SELECT FROM {s}.memories m WHERE m.twin = made.twin AND NOT m.deleted
            AND ('author' <> ALL (narrowed) OR m.author IS NOT DISTINCT FROM made.author)
            AND ('thread' <> ALL (narrowed) OR m.thread IS NOT DISTINCT FROM made.thread)
            AND ('position' <> ALL (narrowed) OR m.position IS NOT DISTINCT FROM made.position)
            AND ('occurred_at' <> ALL (narrowed) OR m.occurred_at = made.occurred_at)))
        OR coalesce((SELECT v.removed FROM {s}.vocabularies v WHERE v.namespace = made.namespace), 0) <> removals
    THEN
        RETURN NULL;
    END IF;
    INSERT INTO {s}.memories VALUES (made.*);
    IF cardinality(new_keys) > 0 THEN
        INSERT INTO {s}.words (namespace, key, mark, held, word, stem)
            SELECT made.namespace, n.key, n.mark, ARRAY[scope_key, n.term], n.word, n.stem
            FROM unnest(new_keys, new_marks, new_terms, new_words, new_stems) AS n (key, mark, term, word, stem)
            ON CONFLICT DO NOTHING;
        brought := FOUND;
    END IF;
    PERFORM {s}.lock_log(lock_key, ARRAY[made.namespace], ARRAY[removals]);
    IF brought THEN
        INSERT INTO {s}.vocabularies AS v (namespace, changed, removed) VALUES (made.namespace, 1, 0)
            ON CONFLICT (namespace) DO UPDATE SET changed = v.changed + 1;
    END IF;
    INSERT INTO {s}.changes (sequence, type, memory_id, version, namespace, time)
        SELECT (SELECT coalesce(max(c.sequence), 0) FROM {s}.changes c) + 1,
            'memory.created', made.id, made.version, made.namespace, made.updated_at
        RETURNING sequence INTO given;
    RETURN given;
END $$;
