-- What happened: the record. Nothing here is edited after it is written, but for the open chunk of a
-- series (its last one), which is replaced by a longer one until it is full.

-- Bytes under their SHA-256, stored once.
CREATE TABLE object (
    id       INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL UNIQUE,   -- SHA-256 of the raw bytes, 32 bytes
    size     INTEGER NOT NULL,       -- of the raw bytes
    encoding INTEGER NOT NULL,       -- 0 as they are, 1 zstd
    data     BLOB                    -- NULL: in objects/ab/cdef... beside the database
);

-- One execution of a command. Hash columns name objects; NULL = none.
CREATE TABLE run (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT, -- order of the record; clocks may jump
    id           TEXT NOT NULL UNIQUE,   -- 16 hex digits, random
    kind         TEXT NOT NULL,          -- train, run, merge, import
    name         TEXT,
    started      REAL NOT NULL,          -- seconds since 1970
    seed         TEXT,                   -- decimal, up to 2^64
    spec         BLOB,                   -- canonical JSON of all that determines the result
    command_line BLOB,                   -- as given, secrets scrubbed
    flags_given  BLOB,                   -- JSON: as the user wrote them
    flags        BLOB,                   -- JSON: as resolved
    dataset      BLOB,                   -- JSON: root of the dataset's tree
    base_model   BLOB,                   -- JSON: path, hashes
    environment  BLOB,                   -- JSON: machine, library versions, allowed variables
    git          BLOB,                   -- JSON: commit, branch, untracked sources
    diff         BLOB,                   -- patch of the work tree against HEAD
    boot_id      TEXT,                   -- with pid and pid_start: is it still running?
    pid          INTEGER,
    pid_start    INTEGER
);
CREATE INDEX run_spec ON run(spec) WHERE spec IS NOT NULL;

-- How it ended. A run without a row and without a process was interrupted.
CREATE TABLE run_end (
    run     INTEGER PRIMARY KEY REFERENCES run(seq),
    ended   REAL NOT NULL,
    status  TEXT NOT NULL,               -- finished, interrupted, failed
    message TEXT
);

-- A file or bytes that belong to a run.
CREATE TABLE artifact (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    run    INTEGER NOT NULL REFERENCES run(seq),
    role   TEXT NOT NULL,                -- lora, sample, log, state, config
    name   TEXT NOT NULL,
    step   INTEGER,
    object BLOB NOT NULL                 -- hash
);
CREATE INDEX artifact_run ON artifact(run);
CREATE INDEX artifact_object ON artifact(object);

-- A curve, in columns.
CREATE TABLE series (
    id  INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run(seq),
    key TEXT NOT NULL,                   -- loss, loss/average, lr/unet ...
    UNIQUE (run, key)
);
CREATE TABLE chunk (
    id         INTEGER PRIMARY KEY,
    series     INTEGER NOT NULL REFERENCES series(id),
    n          INTEGER NOT NULL,         -- points
    last_step  INTEGER NOT NULL,
    last_value REAL,                     -- so that a list of runs need not decode
    data       BLOB NOT NULL             -- store/chunk.c
);
CREATE INDEX chunk_series ON chunk(series);
