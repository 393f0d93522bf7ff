-- One page: the cursor, the messages and what is owed move together, or nothing does.
--
-- A function, because the server keeps its plans for as long as a session lasts, whoever the session is lent to: behind a
-- pooler a statement that is prepared by one call is not there for the next. A later version adds a function beside this
-- one, which replicas of the version before still call.
--
-- Each statement sees what was committed before it began. So the account's row comes first, which keeps other pages of the
-- account waiting until this one is committed; then the shards: whoever gave numbers in one of them before has committed,
-- and a reader that sees a number of a shard has seen all lower ones of it, or never will.
CREATE FUNCTION commit_page(
    of_account   bigint,
    under        bigint,    -- the claim's fence
    read_from    text,      -- the claim's cursor
    next_cursor  text,      -- NULL where it stays
    answers      bigint,    -- the newest wake-up that the finished pull answers; NULL while there is more to pull
    received_ms  bigint,
    -- Of each message:
    send_times   bigint[],
    msgids       text[],
    lanes        bigint[],
    urgents      boolean[],
    kinds        text[],
    bodies       text[],
    -- Of each delivery, in the order of its key:
    owed_nths    bigint[],  -- which message, from 1, is owed …
    owed_to      bigint[],  -- … to which handler
    owing_shards int[],     -- lowest first
    -- A row, unless the claim is out of date:
    OUT left_at text, OUT began_ms bigint, OUT is_first_pull boolean,
    OUT seqs      bigint[], -- the number of each message; NULL for one that came before
    OUT conflicts bigint[]  -- which of those, from 1, came with another body
) RETURNS SETOF record LANGUAGE plpgsql
-- A plan may have been made when the tables were empty.
SET enable_seqscan = off
AS $$
DECLARE
    looked boolean := false;
BEGIN
    UPDATE account SET
        cursor = coalesce(next_cursor, cursor),
        pulled_ms = CASE WHEN answers IS NULL THEN pulled_ms ELSE received_ms END,
        answered = greatest(answered, least(coalesce(answers, 0), wake_number)),
        -- The token has served its purpose once the latest wake-up is answered.
        wake_token = CASE WHEN answers >= wake_number THEN NULL ELSE wake_token END
    WHERE account_id = of_account AND fence = under AND cursor IS NOT DISTINCT FROM read_from
    RETURNING cursor, first_pull_ms, pulled_ms IS NULL INTO left_at, began_ms, is_first_pull;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    -- Apart from the locks of others in this database: 'wekf'.
    PERFORM pg_advisory_xact_lock(x'77656b66'::int, shard) FROM unnest(owing_shards) AS shard;
    seqs := ARRAY(SELECT nextval('message_seq') FROM unnest(msgids));
    LOOP
        BEGIN
            INSERT INTO message (seq, account_id, send_time, msgid, lane, urgent, kind, recv_ms, body)
            SELECT seq, of_account, send_time, msgid, lane, urgent, kind, received_ms, body
            FROM unnest(seqs, send_times, msgids, lanes, urgents, kinds, bodies)
                AS page (seq, send_time, msgid, lane, urgent, kind, body)
            WHERE seq IS NOT NULL;
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            -- Nearly always all of a page is new. Now something came before, or twice in this very page.
            IF looked THEN
                RAISE;
            END IF;
            looked := true;
            seqs := ARRAY(
                SELECT CASE WHEN first AND NOT EXISTS (
                    SELECT FROM message AS m
                    WHERE m.account_id = of_account AND m.send_time = page.send_time AND m.msgid = page.msgid
                ) THEN seq END
                FROM (
                    SELECT *, row_number() OVER (PARTITION BY send_time, msgid ORDER BY nth) = 1 AS first
                    FROM unnest(seqs, send_times, msgids) WITH ORDINALITY AS p (seq, send_time, msgid, nth)
                ) AS page
                ORDER BY nth
            );
        END;
    END LOOP;

    IF EXISTS (SELECT unnest(owed_to) EXCEPT SELECT handler_id FROM handler) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a message is owed to a handler that is not registered';
    END IF;
    INSERT INTO delivery (shard, handler_id, seq, lane, urgent)
    SELECT (lanes[nth] & 63)::smallint, handler_id, seqs[nth], lanes[nth], urgents[nth]
    FROM unnest(owed_nths, owed_to) AS owed (nth, handler_id)
    WHERE seqs[nth] IS NOT NULL;

    IF looked THEN
        WITH again AS MATERIALIZED (
            -- A message without its body is not compared.
            SELECT page.nth, page.body, m.seq, m.body NOT IN (page.body, '') AS differs
            FROM unnest(seqs, send_times, msgids, bodies) WITH ORDINALITY AS page (seq, send_time, msgid, body, nth)
            JOIN message AS m
                ON m.account_id = of_account AND m.send_time = page.send_time AND m.msgid = page.msgid
            WHERE page.seq IS NULL
        ), contradicting AS (
            INSERT INTO quarantine (seq, digest, body, recv_ms)
            SELECT seq, sha256(convert_to(body, 'UTF8')), body, received_ms FROM again WHERE differs
            ON CONFLICT (seq, digest) DO NOTHING
        )
        SELECT array_agg(nth) INTO conflicts FROM again WHERE differs;
    END IF;
    RETURN NEXT;
END $$;
