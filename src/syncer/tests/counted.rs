//! What operators see of pulls.

use super::script::{nothing_new, page, refused};
use super::*;
use crate::metric::tests::Metrics;

async fn told(metrics: &Metrics, line: &str) {
    until(line, async || metrics.say(line)).await;
}

#[tokio::test]
async fn pages_and_messages_are_counted_by_type_with_their_age_and_what_is_odd_about_them() {
    let metrics = Metrics::new();
    let _recorder = metrics::set_default_local_recorder(&metrics.recorder);
    let house = House::new().await;
    let odd = |msgid: &str, msgtype: &str| {
        json!({ "msgid": msgid, "open_kfid": "wk1", "external_userid": "wm1", "send_time": START.as_secs() - 90,
                "origin": 3, "msgtype": msgtype, "image": 7 })
    };
    let script = Script::new(move |number, asked| match number {
        0 => page(&[odd("m1", "image"), odd("m2", "hologram"), text("m3", 30)], "c1", 0),
        1 => page(&[text("m3", 30), text("m4", 60)], "c2", 0),
        _ => nothing_new(asked),
    })
    .await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    told(&metrics, r#"wecom_kf_sync_pages_total{app="main"} 1"#).await;
    for line in [
        r#"wecom_kf_messages_total{app="main",type="malformed"} 1"#,
        r#"wecom_kf_messages_total{app="main",type="unknown"} 1"#,
        r#"wecom_kf_messages_total{app="main",type="text"} 1"#,
        r#"wecom_kf_anomalies_total{app="main",problem="malformed"} 1"#,
        r#"wecom_kf_anomalies_total{app="main",problem="unknown"} 1"#,
        r#"wecom_kf_accounts_paused{app="main"} 0"#,
        r#"wecom_kf_sync_lag_seconds{app="main"} 30"#,
        r#"wecom_kf_seconds_until_upstream_loss{app="main"} 259200"#,
    ] {
        told(&metrics, line).await;
    }
    syncer.wake_with("wk1", "ENC2");
    told(&metrics, r#"wecom_kf_sync_pages_total{app="main"} 2"#).await;
    told(&metrics, r#"wecom_kf_messages_total{app="main",type="text"} 2"#).await;
    syncer.wake_with("wk1", "ENC3");
    told(&metrics, r#"wecom_kf_sync_lag_seconds{app="main"} 0"#).await;
    syncer.stop().await;
}

#[tokio::test]
async fn an_account_that_waits_for_an_operator_is_counted() {
    let metrics = Metrics::new();
    let _recorder = metrics::set_default_local_recorder(&metrics.recorder);
    let house = House::new().await;
    let script = Script::new(|_, _| refused(60030)).await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    told(&metrics, r#"wecom_kf_accounts_paused{app="main"} 1"#).await;
    syncer.stop().await;
}
