-- What handlers said lately and WeCom accepted: so that nothing is said again, and that a failure which WeCom tells of
-- later finds its way back.
CREATE TABLE reply (
    reply_no    INTEGER PRIMARY KEY,            -- grows in the order of acceptance, which is that of pruning
    lane        INTEGER NOT NULL,
    in_reply_to TEXT    NOT NULL,               -- msgid of the message or event that it answers
    msgid       TEXT    NOT NULL,               -- its own, as WeCom knows it
    handler_id  INTEGER NOT NULL REFERENCES handler,
    nth         INTEGER NOT NULL,               -- which of the handler's replies to that message, from 0
    part        INTEGER NOT NULL,               -- which part of it, from 0
    sent_ms     INTEGER NOT NULL,
    UNIQUE (lane, in_reply_to, msgid)
) STRICT;
