//! Customers who talk to an `auto_reply`, and what they see.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use wecom_kf::clock::{Clock as _, SystemClock};
use wecom_kf::id::{ExternalUserid, ServicerUserid};
use wecom_kf::simulator::{Customer, Occasion, Seen};

use crate::server::Server;
use crate::stage::{Pace, Stage};

/// Far longer than anything takes: what is not there by then will not come.
const PATIENCE: Duration = Duration::from_secs(120);

/// A shop that is always open.
const SHOP: &str = r#"
[[handlers]]
name = "hello"
kind = "auto_reply"
[handlers.welcome]
reply = "您好！"
menu = [{ id = "price", text = "价格" }, { id = "human", text = "人工客服" }]
[[handlers.rules]]
keywords = ["price", "价格"]
menu_id = "price"
reply = "一份 25 元。"
[[handlers.rules]]
keywords = ["人工"]
menu_id = "human"
hand_over = true
[handlers.fallback]
reply = "没有听懂。"
[handlers.hand_over]
reply = "请稍候。"
"#;

/// A stage on which `config` answers. The forwarder of the stage hears of everything too.
async fn stage_with(config: &str) -> Stage {
    let stage = Stage::with_accounts(1, Pace::AsShipped).await;
    stage.add_to_config(config);
    stage
}

fn wm1() -> ExternalUserid {
    ExternalUserid::from("wmCustomer00000000000000000001")
}

fn customer(stage: &Stage) -> Customer<'_> {
    stage.wecom.customer(&stage.accounts()[0], &wm1())
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "not in time: {what}");
}

/// Waits until the customer has seen `count` messages. Returns occasion and text of the last.
async fn last_of(customer: &Customer<'_>, count: usize) -> (Occasion, String) {
    until("an answer", async || customer.saw().len() >= count).await;
    let saw = customer.saw();
    assert_eq!(saw.len(), count, "{:?}", customer.read());
    let last: &Arc<Seen> = saw.last().unwrap();
    (last.occasion, last.text.clone().unwrap())
}

/// Waits until the handler has come to `result` that many times.
async fn until_counted(server: &Server, result: &str, count: usize) {
    let line = format!(r#"wecom_kf_auto_replies_total{{handler="hello",result="{result}"}} {count}"#);
    until(&line, async || {
        let metrics = reqwest::get(format!("http://{}/metrics", server.admin)).await.unwrap();
        metrics.text().await.unwrap().lines().any(|counted| counted == line)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_welcomed_answered_and_handed_to_a_person() {
    let stage = stage_with(SHOP).await;
    let server = stage.start();
    let customer = customer(&stage);
    let reply = |text: &str| (Occasion::Reply, text.to_owned());

    assert!(customer.enters().unwrap().welcome_code.is_some());
    let welcome = last_of(&customer, 1).await;
    assert_eq!(welcome, (Occasion::Welcome, "您好！\n价格\n人工客服".to_owned()));
    customer.taps("price").unwrap();
    assert_eq!(last_of(&customer, 2).await, reply("一份 25 元。"));
    customer.writes("ＰＲＩＣＥ please").unwrap();
    assert_eq!(last_of(&customer, 3).await, reply("一份 25 元。"));
    customer.writes("blah").unwrap();
    assert_eq!(last_of(&customer, 4).await, reply("没有听懂。"));
    customer.writes("blah blah").unwrap();
    until_counted(&server, "held_back", 1).await;

    customer.taps("human").unwrap();
    let handed_over = last_of(&customer, 5).await;
    assert_eq!(handed_over, (Occasion::Pooled, "请稍候。".to_owned()));
    // From now on whoever speaks would come between the customer and a colleague.
    customer.writes("price?").unwrap();
    until_counted(&server, "with_human", 1).await;
    let colleague = stage
        .wecom
        .servicer(&stage.accounts()[0], &ServicerUserid::from("LiMing"));
    colleague.takes(&wm1()).unwrap();
    colleague.writes(&wm1(), "price is the word").unwrap();
    customer.writes("人工").unwrap();
    until_counted(&server, "with_human", 2).await;
    assert_eq!(customer.saw().len(), 5, "{:?}", customer.read());

    colleague.ends(&wm1()).unwrap();
    customer.writes("价格").unwrap();
    assert_eq!(last_of(&customer, 6).await, reply("一份 25 元。"));
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_colleague_gets_the_customer() {
    let stage = stage_with(&SHOP.replace(
        "[handlers.hand_over]",
        "[handlers.hand_over]\nservicer_userid = \"WangFang\"",
    ))
    .await;
    let server = stage.start();
    let customer = customer(&stage);
    customer.writes("转人工").unwrap();
    assert_eq!(last_of(&customer, 1).await, (Occasion::Assigned, "请稍候。".to_owned()));
    assert!(server.stop().success());
}

/// `Mon` to `Sun`, that of China `days` from today.
fn weekday(days: u64) -> &'static str {
    const SINCE_1970: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let today = (SystemClock.now().as_secs() + 8 * 3600) / 86_400;
    SINCE_1970[usize::try_from((today + days) % 7).unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_is_there_customers_hear_so_once_over_a_restart_and_are_handed_to_nobody() {
    let in_three_days = weekday(3);
    let hours = format!("[handlers.hours]\nopen = [\"{in_three_days} 09:00-18:00\"]\nclosed_reply = \"周末见。\"\n");
    let stage = stage_with(&format!("{SHOP}{hours}")).await;
    let server = stage.start();
    let customer = customer(&stage);
    customer.writes("hello?").unwrap();
    assert_eq!(last_of(&customer, 1).await, (Occasion::Reply, "周末见。".to_owned()));
    server.kill();
    let server = stage.start();
    customer.writes("anybody there?").unwrap();
    until_counted(&server, "held_back", 1).await;
    customer.writes("price").unwrap();
    assert_eq!(
        last_of(&customer, 2).await,
        (Occasion::Reply, "一份 25 元。".to_owned())
    );
    customer.writes("人工").unwrap();
    assert_eq!(last_of(&customer, 3).await, (Occasion::Reply, "周末见。".to_owned()));
    assert!(server.stop().success());
}

/// Rounds that end with `kill -9`.
const ROUNDS: usize = 5;
/// Customers who ask something in each.
const CUSTOMERS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_between_leaves_nobody_without_an_answer_and_gives_nobody_two() {
    let stage = stage_with(SHOP).await;
    let account = stage.accounts().remove(0);
    let ids: Vec<_> = (0..CUSTOMERS)
        .map(|n| ExternalUserid::new(format!("wmCustomer{n:020}")))
        .collect();
    let customers: Vec<_> = ids.iter().map(|id| stage.wecom.customer(&account, id)).collect();
    let answers = || stage.wecom.seen().len();
    for round in 0..ROUNDS {
        let server = stage.start();
        for customer in &customers {
            customer.writes("price").unwrap();
        }
        // The end comes amid the answers, in each round at another.
        let some = answers() + round * CUSTOMERS / ROUNDS + 1;
        until("some answers", async || answers() >= some).await;
        server.kill();
    }
    let server = stage.start();
    // What a customer says last is answered last.
    for customer in &customers {
        customer.writes("bye").unwrap();
    }
    let is_over = |customer: &Customer<'_>| customer.read().last().is_some_and(|last| last == "没有听懂。");
    until("the last answers", async || customers.iter().all(is_over)).await;
    assert!(server.stop().success());
    println!(
        "{ROUNDS} kill -9 amid {} answers, {} seen",
        ROUNDS * CUSTOMERS + CUSTOMERS,
        answers()
    );
    let mut expected = vec!["一份 25 元。"; ROUNDS];
    expected.push("没有听懂。");
    for customer in &customers {
        assert_eq!(customer.read(), expected);
    }
}
