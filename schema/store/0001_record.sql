-- What happened: the record. Rows are added and not edited. Two tables are waiting rooms: points and
-- console text of a live run lie in `tail_point` and `tail_text` as plain rows until there is enough
-- to pack, and are moved in one transaction.

-- Bytes under their SHA-256, stored once.
CREATE TABLE object (
    id       INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL UNIQUE,   -- SHA-256 of the raw bytes, 32 bytes
    size     INTEGER NOT NULL,       -- of the raw bytes
    encoding INTEGER NOT NULL,       -- 0 as they are, 1 zstd
    added    INTEGER NOT NULL,       -- last put, to the day; seconds since 1970: gc spares the young
    data     BLOB                    -- NULL: in objects/ab/cdef... beside the database
);

-- One execution of a command. Hash columns name objects; NULL = none.
CREATE TABLE run (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT, -- order of the record; clocks may jump
    id           TEXT NOT NULL UNIQUE,   -- 16 hex digits, random
    kind         TEXT NOT NULL,          -- train, run, merge, import
    name         TEXT,                   -- at the start; a newer one is a remark
    origin       TEXT UNIQUE,            -- of an imported run: where it is from; imported once
    parent       TEXT,                   -- id of the run that this one goes on from
    started      REAL NOT NULL,          -- seconds since 1970
    recorded     REAL NOT NULL,          -- the same for a run that was not imported
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
    boot_id      TEXT,                   -- with pid and pid_start: is it still running? NULL: imported
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

-- What people and programs say of a run. The newest of (run, kind, key) holds; a NULL value takes
-- it back. Notes are the exception: all of them hold.
CREATE TABLE remark (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    run   INTEGER NOT NULL REFERENCES run(seq),
    at    REAL NOT NULL,                 -- seconds since 1970
    kind  TEXT NOT NULL,                 -- name, group, tag, note, pin, trash, fact
    key   TEXT NOT NULL,                 -- of a tag or a fact its name, else ''
    value TEXT
);
CREATE INDEX remark_of_run ON remark(run, kind, key);

-- A file or bytes that belong to a run.
CREATE TABLE artifact (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    run         INTEGER NOT NULL REFERENCES run(seq),
    role        TEXT NOT NULL,           -- lora, sample, log, console, state, config
    name        TEXT NOT NULL,           -- for people
    step        INTEGER,                 -- NULL: of no step
    at          REAL NOT NULL,           -- when it was recorded, seconds since 1970
    object      BLOB NOT NULL,           -- SHA-256 of its bytes
    size        INTEGER NOT NULL,        -- bytes
    is_kept     INTEGER NOT NULL,        -- 1: the bytes are in `object`, 0: only named
    path        TEXT,                    -- where it lay
    tensor_hash BLOB                     -- SHA-256 of a LoRA's tensors, whatever its metadata say
);
CREATE INDEX artifact_run ON artifact(run);
CREATE INDEX artifact_object ON artifact(object);
CREATE INDEX artifact_tensors ON artifact(tensor_hash) WHERE tensor_hash IS NOT NULL;

-- A curve: points 0, 1, 2 ... in chunks, the last ones in the tail.
CREATE TABLE series (
    id  INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run(seq),
    key TEXT NOT NULL,                   -- loss, loss/average, lr/unet ...
    UNIQUE (run, key)
);
CREATE TABLE chunk (
    series INTEGER NOT NULL REFERENCES series(id),
    first  INTEGER NOT NULL,             -- number of its first point
    n      INTEGER NOT NULL,             -- points
    data   BLOB NOT NULL,                -- store/chunk.h
    PRIMARY KEY (series, first)
);
CREATE TABLE tail_point (
    series INTEGER NOT NULL REFERENCES series(id),
    at     INTEGER NOT NULL,             -- number of the point
    step   INTEGER NOT NULL,
    value  REAL,                         -- NULL: not a number
    PRIMARY KEY (series, at)
) WITHOUT ROWID;

-- What a live run printed; an artifact of role console when it has ended.
CREATE TABLE tail_text (
    run  INTEGER NOT NULL REFERENCES run(seq),
    at   INTEGER NOT NULL,               -- number of its first byte
    data BLOB NOT NULL,
    PRIMARY KEY (run, at)
);
