-- One row: the number of the table in force, and what its vectors are (nothing yet while dimension is null).
CREATE TABLE {s}.space (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    generation bigint NOT NULL,
    dimension integer,
    fingerprint text,
    kind text,
    hnsw boolean
);
INSERT INTO {s}.space (generation) VALUES (0);
