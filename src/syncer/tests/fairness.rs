use super::script::page;
use super::*;

#[tokio::test]
async fn the_backlog_of_one_account_does_not_keep_others_waiting() {
    const PAGES: usize = 35;
    const OTHERS: [&str; 5] = ["wk2", "wk3", "wk4", "wk5", "wk6"];
    for token in [None, Some("ENC1")] {
        let house = House::new().await;
        let script = Script::new(|_, asked| {
            let read: usize = asked.cursor.as_deref().map_or(0, |cursor| cursor[1..].parse().unwrap());
            let more = asked.open_kfid == "wk1" && read < PAGES;
            page(&[], &format!("c{}", read + 1), u8::from(more))
        })
        .await;
        let syncer = house.run_with(&script.base_url, |change| change.sync.pulls_at_once = 1);
        // All at once: whoever is first, nobody waits for more than a turn of another.
        for open_kfid in OTHERS.iter().chain(&["wk1"]) {
            match token {
                Some(token) => syncer.wake_with(open_kfid, token),
                None => syncer.wake(open_kfid),
            }
        }
        until("all pages", async || {
            house.store.committed().len() >= PAGES + 1 + OTHERS.len()
        })
        .await;
        syncer.stop().await;
        let asked = script.asked();
        let last = asked.iter().rposition(|asked| asked.open_kfid != "wk1").unwrap();
        assert!(
            last < 10 + OTHERS.len(),
            "the last other account was pulled as number {last}"
        );
        assert_eq!(script.asked_of("wk1").len(), PAGES + 1);
    }
}
