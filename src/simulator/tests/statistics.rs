//! Statistics: counted from what was said, by the day.

use super::replies::{send, text};
use super::*;
use crate::id::ServicerUserid;

/// Midnight in China before [`START`], which is four in the afternoon there.
const TODAY: u64 = 1_785_513_600;
const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn a_day_is_counted_from_six_the_next_morning() {
    let clock = ManualClock::default();
    let simulator = Simulator::start(settings(&clock)).await.unwrap();
    let mut client = Client::new(&simulator).await;
    let (wm1, liming) = (ExternalUserid::from("wm1"), ServicerUserid::from("LiMing"));
    let customer = simulator.customer(&wk1(), &wm1);
    customer.writes("one").unwrap();
    customer.writes("two").unwrap();
    assert_eq!(send(&client, &text("hi")).await, 0);
    simulator
        .customer(&wk1(), &ExternalUserid::from("wm2"))
        .writes("one")
        .unwrap();
    simulator.servicer(&wk1(), &liming).takes(&wm1).unwrap();
    simulator.servicer(&wk1(), &liming).writes(&wm1, "hello").unwrap();
    simulator
        .servicer(&wk1(), &liming)
        .takes(&ExternalUserid::from("wm2"))
        .unwrap();

    clock.set(UnixMillis::from_secs(TODAY + DAY + 6 * 60 * 60 - 1));
    client.renew().await.unwrap();
    let mut ask = json!({ "open_kfid": "wk1", "start_time": TODAY - DAY + 5, "end_time": TODAY });
    let early = client.must_post("get_corp_statistic", &ask).await;
    assert_eq!(
        early["statistic_list"],
        json!([{ "stat_time": TODAY - DAY }, { "stat_time": TODAY }])
    );

    clock.advance(Duration::from_secs(1));
    let corp = client.must_post("get_corp_statistic", &ask).await;
    let expected = json!({ "session_cnt": 2, "customer_cnt": 2, "customer_msg_cnt": 3, "ai_session_reply_cnt": 1,
                           "upgrade_service_customer_cnt": 0, "msg_rejected_customer_cnt": 0 });
    let expected = json!([{ "stat_time": TODAY - DAY }, { "stat_time": TODAY, "statistic": expected }]);
    assert_eq!(corp["statistic_list"], expected);

    for (servicer, numbers) in [("LiMing", Some((2, 2, 3, 0.5))), ("WangFang", None)] {
        ask["servicer_userid"] = servicer.into();
        let answer = client.must_post("get_servicer_statistic", &ask).await;
        let statistic = answer["statistic_list"][1].get("statistic");
        let seen = statistic.map(|numbers| {
            let count = |name: &str| numbers[name].as_u64().unwrap();
            let rate = numbers["reply_rate"].as_f64().unwrap();
            (
                count("session_cnt"),
                count("customer_cnt"),
                count("customer_msg_cnt"),
                rate,
            )
        });
        assert_eq!(seen, numbers, "{servicer}");
    }
}

#[tokio::test]
async fn statistics_are_asked_for_a_month_of_the_past() {
    let simulator = Simulator::start(settings(&ManualClock::default())).await.unwrap();
    let client = Client::new(&simulator).await;
    for (start, end, errcode) in [
        (TODAY - DAY, TODAY - DAY, 0),
        (TODAY - 31 * DAY, TODAY - DAY, 0),
        (TODAY - 32 * DAY, TODAY - DAY, 40058),
        (TODAY - DAY, TODAY, 40058),
        (TODAY - DAY, TODAY - 2 * DAY, 40058),
        (TODAY - 180 * DAY, TODAY - 179 * DAY, 0),
        (TODAY - 181 * DAY, TODAY - 179 * DAY, 40058),
    ] {
        let ask = json!({ "open_kfid": "wk1", "start_time": start, "end_time": end });
        for api in ["get_corp_statistic", "get_servicer_statistic"] {
            assert_eq!(client.try_post(api, &ask).await, errcode, "{api} {ask}");
        }
    }
    assert_eq!(
        client
            .try_post("get_corp_statistic", &json!({ "open_kfid": "wk1" }))
            .await,
        40058
    );
    assert_eq!(client.try_post("get_corp_statistic", &json!({})).await, 60251);
}
