-- "wekf": tells our files from those of other programs.
PRAGMA application_id = 0x77656b66;

-- The one row about the file itself.
CREATE TABLE meta (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    schema_version INTEGER NOT NULL,
    lane_hash      TEXT    NOT NULL,            -- what delivery.shard was computed with
    last_seq       INTEGER NOT NULL DEFAULT 0,  -- newest message.seq ever given
    replays        INTEGER NOT NULL DEFAULT 0,  -- how often dead letters were owed again
    checks         INTEGER NOT NULL DEFAULT 0   -- written to see whether a write is taken
) STRICT;
INSERT INTO meta (id, schema_version, lane_hash) VALUES (1, 1, 'xxh3_64 % 64');

-- Rows stay for ever: a handler's name is its durable identity.
CREATE TABLE handler (
    handler_id INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE account (
    account_id    INTEGER PRIMARY KEY,
    app           TEXT    NOT NULL,
    open_kfid     TEXT    NOT NULL,
    cursor        TEXT,                         -- NULL before the first page
    fence         INTEGER NOT NULL DEFAULT 0,   -- +1 per claim; only the latest may commit
    first_pull_ms INTEGER,                      -- when the first pull began
    pulled_ms     INTEGER,                      -- when a pull last reached the end; NULL while the first is under way
    wake_number   INTEGER NOT NULL DEFAULT 0,   -- +1 per wake-up
    wake_ms       INTEGER,                      -- arrival of the latest wake-up
    wake_token    TEXT,                         -- its callback token: a secret, cleared once it is answered
    answered      INTEGER NOT NULL DEFAULT 0,   -- newest wake-up that a finished pull has answered
    UNIQUE (app, open_kfid)
) STRICT;

CREATE TABLE message (
    seq        INTEGER PRIMARY KEY,             -- from meta.last_seq: never given twice, also after pruning
    account_id INTEGER NOT NULL,
    send_time  INTEGER NOT NULL,
    msgid      TEXT    NOT NULL,
    lane       INTEGER NOT NULL,
    urgent     INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    recv_ms    INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    -- send_time before the random msgid keeps inserts at the right edge of the index: three times the speed.
    UNIQUE (account_id, send_time, msgid)
) STRICT;

-- Only what is owed: no row means done.
CREATE TABLE delivery (
    shard      INTEGER NOT NULL,
    handler_id INTEGER NOT NULL REFERENCES handler,
    seq        INTEGER NOT NULL,
    lane       INTEGER NOT NULL,
    urgent     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    due_ms     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (shard, handler_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_urgent ON delivery (shard, handler_id, seq) WHERE urgent = 1;

CREATE TABLE dead (
    handler_id INTEGER NOT NULL REFERENCES handler,
    seq        INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    died_ms    INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    PRIMARY KEY (handler_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_by_age ON dead (died_ms, seq);

-- Bodies that contradict the one stored as message.seq.
CREATE TABLE quarantine (
    seq     INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    recv_ms INTEGER NOT NULL,
    PRIMARY KEY (seq, body)
) STRICT, WITHOUT ROWID;
