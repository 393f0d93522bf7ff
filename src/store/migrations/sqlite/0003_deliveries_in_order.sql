-- One process reads all shards, so deliveries lie in the order of arrival and not by shard: what comes together, and goes
-- together, is in a few pages of the file instead of one for each shard.
DROP INDEX delivery_urgent;
ALTER TABLE delivery RENAME TO delivery_by_shard;

-- Only what is owed: no row means done.
CREATE TABLE delivery (
    handler_id INTEGER NOT NULL REFERENCES handler,
    seq        INTEGER NOT NULL,
    lane       INTEGER NOT NULL,
    urgent     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    due_ms     INTEGER NOT NULL DEFAULT 0,
    shard      INTEGER AS (lane & 63),          -- not stored
    PRIMARY KEY (handler_id, seq)
) STRICT, WITHOUT ROWID;

INSERT INTO delivery (handler_id, seq, lane, urgent, attempts, due_ms)
SELECT handler_id, seq, lane, urgent, attempts, due_ms FROM delivery_by_shard ORDER BY handler_id, seq;
DROP TABLE delivery_by_shard;

CREATE INDEX delivery_urgent ON delivery (handler_id, seq) WHERE urgent = 1;
