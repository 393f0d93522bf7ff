//! What the database saw: triggers of the test's own write down who took what, who gave it back and who committed.
//!
//! Who somebody is, the database tells by the address a statement came from, which nothing in the server knows of. So a
//! commit under a lease that another has taken since is found even if every fence the server compares is wrong.

use std::net::IpAddr;

use tokio_postgres::{Client, Row};
use wecom_kf::id::OpenKfid;

use crate::life::Life;
use crate::moment::{Moment, Origin};

/// What one replica at a time has the right to do.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Thing {
    /// To pull an account.
    Account(OpenKfid),
    /// To hand out a shard.
    Shard(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deed {
    /// It became the holder.
    Took,
    /// It is the holder no more, by its own will.
    GaveBack,
    /// It moved a cursor, or recorded a retry or a burial: what only the holder may do.
    Committed,
}

/// One line of what the database saw. They are in order, as far as one [`Thing`] is concerned.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Moment,
    /// Nobody, if it did not come from a replica.
    pub(crate) who: Option<Life>,
    pub(crate) thing: Thing,
    pub(crate) deed: Deed,
}

const TRIGGERS: &str = "
    CREATE TABLE witness (
        id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at    timestamptz NOT NULL DEFAULT clock_timestamp(),
        who   inet        DEFAULT inet_client_addr(),
        thing text        NOT NULL,
        deed  text        NOT NULL
    );
    CREATE FUNCTION saw_account() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.lease_owner IS NOT NULL AND NEW.lease_fence <> OLD.lease_fence THEN
            INSERT INTO witness (thing, deed) VALUES (NEW.open_kfid, 'took');
        ELSIF NEW.lease_owner IS NULL AND OLD.lease_owner IS NOT NULL THEN
            INSERT INTO witness (thing, deed) VALUES (NEW.open_kfid, 'gave back');
        END IF;
        IF NEW.cursor IS DISTINCT FROM OLD.cursor THEN
            INSERT INTO witness (thing, deed) VALUES (NEW.open_kfid, 'committed');
        END IF;
        RETURN NULL;
    END $$;
    CREATE FUNCTION saw_shard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.owner IS NOT NULL AND NEW.fence <> OLD.fence THEN
            INSERT INTO witness (thing, deed) VALUES (NEW.shard, 'took');
        ELSIF NEW.owner IS NULL AND OLD.owner IS NOT NULL THEN
            INSERT INTO witness (thing, deed) VALUES (NEW.shard, 'gave back');
        END IF;
        RETURN NULL;
    END $$;
    CREATE FUNCTION saw_retry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO witness (thing, deed) VALUES (NEW.shard, 'committed');
        RETURN NULL;
    END $$;
    CREATE FUNCTION saw_burial() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO witness (thing, deed) SELECT lane & 63, 'committed' FROM message WHERE seq = NEW.seq;
        RETURN NULL;
    END $$;
    -- In the order in which the server locks them.
    LOCK TABLE account, shard, delivery, dead IN SHARE ROW EXCLUSIVE MODE;
    CREATE TRIGGER witness AFTER UPDATE ON account FOR EACH ROW EXECUTE FUNCTION saw_account();
    CREATE TRIGGER witness AFTER UPDATE ON shard FOR EACH ROW EXECUTE FUNCTION saw_shard();
    CREATE TRIGGER witness AFTER UPDATE ON delivery FOR EACH ROW EXECUTE FUNCTION saw_retry();
    CREATE TRIGGER witness AFTER INSERT ON dead FOR EACH ROW EXECUTE FUNCTION saw_burial();
";

/// Lets the database see from now on. The server has made its tables, and `first`, which did, may have taken what there
/// is.
pub(crate) async fn watch(database: &Client, first: Life) {
    // One transaction: nothing changes hands between the look at what was taken and the first that is seen.
    let taken = format!(
        "INSERT INTO witness (who, thing, deed)
         SELECT '{address}'::inet, open_kfid, 'took' FROM account WHERE lease_owner IS NOT NULL
         UNION ALL SELECT '{address}'::inet, shard::text, 'took' FROM shard WHERE owner IS NOT NULL",
        address = first.address()
    );
    let watch = database.batch_execute(&format!("{TRIGGERS}{taken}")).await;
    watch.expect("the triggers can be made");
}

/// What it saw so far.
pub(crate) async fn seen(database: &Client, origin: &Origin) -> Vec<Entry> {
    read(database, origin, "").await
}

/// The same without the commits, of which there are many.
pub(crate) async fn hands(database: &Client, origin: &Origin) -> Vec<Entry> {
    read(database, origin, "WHERE deed <> 'committed'").await
}

async fn read(database: &Client, origin: &Origin, which: &str) -> Vec<Entry> {
    let lines = format!(
        "SELECT (extract(epoch FROM at) * 1000000)::bigint, host(who), thing, deed FROM witness {which} ORDER BY id"
    );
    let lines = database.query(&lines, &[]).await.expect("it can be read");
    lines.iter().map(|line| Entry::of(line, origin)).collect()
}

impl Entry {
    fn of(line: &Row, origin: &Origin) -> Self {
        let (at, who, thing, deed): (i64, Option<&str>, &str, &str) =
            (line.get(0), line.get(1), line.get(2), line.get(3));
        let address: Option<IpAddr> = who.map(|who| who.parse().expect("an address"));
        Self {
            at: origin.at(at),
            who: address.and_then(Life::at),
            thing: thing
                .parse()
                .map_or_else(|_| Thing::Account(OpenKfid::from(thing)), Thing::Shard),
            deed: match deed {
                "took" => Deed::Took,
                "gave back" => Deed::GaveBack,
                _ => Deed::Committed,
            },
        }
    }
}

/// One number from the database.
pub(crate) async fn number(database: &Client, query: &str) -> u64 {
    let row = database.query_one(query, &[]).await.expect("it can be asked");
    u64::try_from(row.get::<_, i64>(0)).expect("a count")
}
