//! `schema` against what a server really sends.

use serde_json::{Value, json};
use wecom_kf::id::{ExternalUserid, OpenKfid};

use crate::bot::Bot;
use crate::command::run;
use crate::stage::{ACCOUNT, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn every_forwarded_body_validates_against_the_printed_schema() {
    let schema: Value = serde_json::from_str(&run(["schema"]).good()).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let validator = jsonschema::validator_for(&schema).unwrap();

    let bot = Bot::start().await;
    let stage = Stage::new(&bot.handler()).await;
    let server = stage.start();
    let customer = ExternalUserid::from("wm1");
    let said = stage.wecom.converse(&OpenKfid::from(ACCOUNT), &customer).unwrap();
    bot.until(said.len()).await;
    assert!(server.stop().success());

    for mut body in bot.taken() {
        if let Err(error) = validator.validate(&body) {
            panic!("{error} at {} of {body}", error.instance_path());
        }
        body["data"]["msgid"] = json!(7);
        assert!(!validator.is_valid(&body), "{body}");
    }
}

#[test]
fn the_schema_of_answers_is_printed_too() {
    let schema: Value = serde_json::from_str(&run(["schema", "answer"]).good()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let answer = |content: Value| json!({ "replies": [{ "msgtype": "text", "text": { "content": content } }] });
    assert!(validator.is_valid(&answer(json!("您好"))));
    assert!(!validator.is_valid(&answer(json!(7))));
}
