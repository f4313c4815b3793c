-- What follows from the record: `lx fsck --rebuild` drops all of this and makes it again. Views are
-- what `lx sql` documents (docs/store.md); their names are plural.

-- A run at a glance.
CREATE TABLE run_now (
    run          INTEGER PRIMARY KEY,
    name         TEXT,                   -- newest
    grp          TEXT,
    is_pinned    INTEGER NOT NULL DEFAULT 0,
    is_trashed   INTEGER NOT NULL DEFAULT 0,
    n_points     INTEGER NOT NULL DEFAULT 0,
    last_step    INTEGER,                -- of any curve
    loss         REAL,                   -- last of the curve loss
    loss_average REAL                    -- last of the curve loss/average
);

-- A curve at a glance.
CREATE TABLE series_now (
    series     INTEGER PRIMARY KEY,
    n          INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    last_step  INTEGER NOT NULL,
    last_value REAL,                     -- NULL: not a number
    min_value  REAL,                     -- of those that are numbers
    min_step   INTEGER,
    max_value  REAL
);

-- Flags as resolved (else as given), one row a flag; equal pairs are stored once.
CREATE TABLE flag_value (
    id    INTEGER PRIMARY KEY,
    key   TEXT NOT NULL,
    value NOT NULL,                      -- number (true is 1) or text; lists and objects as JSON
    UNIQUE (key, value)
);
CREATE TABLE run_flag (
    run  INTEGER NOT NULL,
    flag INTEGER NOT NULL,               -- flag_value.id
    PRIMARY KEY (run, flag)
) WITHOUT ROWID;
CREATE INDEX run_flag_of_flag ON run_flag(flag);

CREATE VIEW runs AS
    SELECT r.seq, r.id, r.kind, coalesce(n.name, r.name) AS name, n.grp,
           r.started, e.ended, e.status, e.message, r.seed, lower(hex(r.spec)) AS spec,
           r.origin, r.parent, n.is_pinned, n.is_trashed, n.n_points, n.last_step,
           coalesce(n.loss_average, n.loss) AS loss
      FROM run r LEFT JOIN run_end e ON e.run = r.seq LEFT JOIN run_now n ON n.run = r.seq;

CREATE VIEW curves AS
    SELECT r.id AS run, s.key, n.n, n.first_step, n.last_step, n.last_value, n.min_value,
           n.min_step, n.max_value
      FROM series s JOIN run r ON r.seq = s.run JOIN series_now n ON n.series = s.id;

CREATE VIEW tail AS
    SELECT r.id AS run, s.key, t.at, t.step, t.value
      FROM tail_point t JOIN series s ON s.id = t.series JOIN run r ON r.seq = s.run;

CREATE VIEW artifacts AS
    SELECT r.id AS run, a.role, a.name, a.step, a.at, lower(hex(a.object)) AS sha256, a.size,
           a.is_kept, a.path, lower(hex(a.tensor_hash)) AS tensor_hash
      FROM artifact a JOIN run r ON r.seq = a.run;

CREATE VIEW remarks AS
    SELECT r.id AS run, m.kind, m.key, m.value, m.at
      FROM remark m JOIN run r ON r.seq = m.run
     WHERE m.value IS NOT NULL
       AND (m.kind = 'note'
            OR m.seq = (SELECT max(seq) FROM remark o
                         WHERE o.run = m.run AND o.kind = m.kind AND o.key = m.key));

CREATE VIEW tags AS SELECT run, key AS tag, value, at FROM remarks WHERE kind = 'tag';
CREATE VIEW notes AS SELECT run, value AS note, at FROM remarks WHERE kind = 'note';
CREATE VIEW facts AS SELECT run, key, value, at FROM remarks WHERE kind = 'fact';

CREATE VIEW flags AS
    SELECT r.id AS run, v.key, v.value
      FROM flag_value v JOIN run_flag f ON f.flag = v.id JOIN run r ON r.seq = f.run;
