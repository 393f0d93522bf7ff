-- The one row about the tables themselves. Its column lane_hash tells our tables from those of other programs.
CREATE TABLE meta (
    id             smallint PRIMARY KEY CHECK (id = 1),
    schema_version bigint   NOT NULL,
    lane_hash      text     NOT NULL,            -- what delivery.shard was computed with
    replays        bigint   NOT NULL DEFAULT 0,  -- how often dead letters were owed again
    checks         bigint   NOT NULL DEFAULT 0   -- written to see whether a write is taken
) WITH (fillfactor = 10);
INSERT INTO meta (id, schema_version, lane_hash) VALUES (1, 1, 'xxh3_64 % 64');

-- Processes that have this store open, by the handle they opened.
CREATE TABLE replica (
    owner text        PRIMARY KEY,
    until timestamptz NOT NULL
) WITH (fillfactor = 10);

-- Who hands out which shard. The rows of a lease are written every few seconds and never grow: most of a page is left
-- free for their next versions, which then need no entry in an index.
CREATE TABLE shard (
    shard smallint    PRIMARY KEY,
    owner text,
    fence bigint      NOT NULL DEFAULT 0,        -- +1 whenever another takes it
    until timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 25);
INSERT INTO shard (shard) SELECT generate_series(0, 63);

-- Rows stay for ever: a handler's name is its durable identity.
CREATE TABLE handler (
    handler_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text   NOT NULL UNIQUE
);

CREATE TABLE account (
    account_id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app           text        NOT NULL,
    open_kfid     text        NOT NULL,
    cursor        text,                               -- NULL before the first page
    fence         bigint      NOT NULL DEFAULT 0,     -- +1 per claim; only the latest may commit
    first_pull_ms bigint,                             -- when the first pull began
    pulled_ms     bigint,                             -- when a pull last reached the end; NULL while the first is under way
    wake_number   bigint      NOT NULL DEFAULT 0,     -- +1 per wake-up
    wake_ms       bigint,                             -- arrival of the latest wake-up
    wake_token    text,                               -- its callback token: a secret, cleared once it is answered
    answered      bigint      NOT NULL DEFAULT 0,     -- newest wake-up that a finished pull has answered
    lease_owner   text,                               -- who may pull it
    lease_fence   bigint      NOT NULL DEFAULT 0,     -- +1 whenever another takes it
    lease_until   timestamptz NOT NULL DEFAULT '-infinity',
    UNIQUE (app, open_kfid)
) WITH (fillfactor = 50);
CREATE INDEX account_woken ON account (account_id) WHERE wake_number > answered;

-- Numbers are given under a lock on the shards of a page, one at a time: no session may keep some in hand.
CREATE SEQUENCE message_seq CACHE 1;

CREATE TABLE message (
    seq        bigint  PRIMARY KEY,                   -- from message_seq: never given twice, also after pruning
    account_id bigint  NOT NULL,
    send_time  bigint  NOT NULL,
    msgid      text    NOT NULL,
    lane       bigint  NOT NULL,
    urgent     boolean NOT NULL,
    kind       text    NOT NULL,
    recv_ms    bigint  NOT NULL,
    body       text    NOT NULL,
    -- send_time before the random msgid keeps inserts at the right edge of the index.
    UNIQUE (account_id, send_time, msgid)
);

-- Only what is owed: no row means done. Whether a handler exists is seen to by the statement that owes, which looks at
-- the few handlers once and not at every row.
CREATE TABLE delivery (
    shard      smallint NOT NULL,
    handler_id bigint   NOT NULL,
    seq        bigint   NOT NULL,
    lane       bigint   NOT NULL,
    urgent     boolean  NOT NULL,
    attempts   bigint   NOT NULL DEFAULT 0,
    due_ms     bigint   NOT NULL DEFAULT 0,
    PRIMARY KEY (shard, handler_id, seq)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX delivery_urgent ON delivery (shard, handler_id, seq) WHERE urgent;

CREATE TABLE dead (
    handler_id bigint NOT NULL,
    seq        bigint NOT NULL,
    attempts   bigint NOT NULL,
    died_ms    bigint NOT NULL,
    reason     text   NOT NULL,
    PRIMARY KEY (handler_id, seq)
);
CREATE INDEX dead_by_age ON dead (died_ms, seq);

-- Bodies that contradict the one stored as message.seq. A body may be longer than an index takes, its digest is not.
CREATE TABLE quarantine (
    seq     bigint NOT NULL,
    digest  bytea  NOT NULL,
    body    text   NOT NULL,
    recv_ms bigint NOT NULL,
    PRIMARY KEY (seq, digest)
);

-- What handlers said lately and WeCom accepted: so that nothing is said again, and that a failure which WeCom tells of
-- later finds its way back.
CREATE TABLE reply (
    reply_no    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- about the order of acceptance, which is that of pruning
    lane        bigint NOT NULL,
    in_reply_to text   NOT NULL,                      -- msgid of the message or event that it answers
    msgid       text   NOT NULL,                      -- its own, as WeCom knows it
    handler_id  bigint NOT NULL,
    nth         bigint NOT NULL,                      -- which of the handler's replies to that message, from 0
    part        bigint NOT NULL,                      -- which part of it, from 0
    sent_ms     bigint NOT NULL,
    UNIQUE (lane, in_reply_to, msgid)
);

-- Access tokens of WeCom, for all processes. In clear: whoever reads this can use them until they expire.
CREATE TABLE access_token (
    key           text        PRIMARY KEY,            -- corporation and a digest of the secret, never the secret
    version       bigint      NOT NULL DEFAULT 0,     -- +1 per token
    token         text,                               -- NULL before the first, and once WeCom refuses it
    granted_at    timestamptz NOT NULL DEFAULT 'epoch',
    expires_at    timestamptz NOT NULL DEFAULT 'epoch',
    refresher     bigint      NOT NULL,               -- who alone may fetch the next …
    refresh_until timestamptz NOT NULL,               -- … until then
    refusals      bigint      NOT NULL DEFAULT 0,     -- how often WeCom refused one, since the last
    refused_with  bigint,                             -- its errcode
    retry_at      timestamptz NOT NULL DEFAULT 'epoch'
) WITH (fillfactor = 25);
