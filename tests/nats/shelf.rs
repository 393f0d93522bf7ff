//! What stands in the stream, read back message by message.

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use wecom_kf::id::{ExternalUserid, Msgid, OpenKfid};
use wecom_kf::simulator::Received;

use crate::broker::{Broker, PATIENCE, STREAM};

/// The stream's messages, as far as they were read.
pub(crate) struct Shelf {
    stream: Stream,
    pub(crate) messages: Vec<StreamMessage>,
}

impl Shelf {
    pub(crate) async fn of(broker: &Broker) -> Self {
        let context = broker.client().await;
        Self {
            stream: context.get_stream(STREAM).await.unwrap(),
            messages: Vec::new(),
        }
    }

    /// How many the stream has taken so far. Waits for a broker that is about to come back.
    pub(crate) async fn len(&self) -> u64 {
        let asking = async {
            loop {
                match self.stream.get_info().await {
                    Ok(info) => return info.state.last_sequence,
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
        };
        timeout(PATIENCE, asking).await.expect("the broker answers")
    }

    /// Waits until the stream has taken `count`.
    pub(crate) async fn until(&self, count: u64) {
        let waiting = async {
            while self.len().await < count {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let came = timeout(PATIENCE, waiting).await;
        assert!(came.is_ok(), "only {} of {count} within {PATIENCE:?}", self.len().await);
    }

    /// Reads what has come since.
    pub(crate) async fn read(&mut self) {
        let next = self.messages.last().map_or(1, |last| last.sequence + 1);
        for sequence in next..=self.len().await {
            let message = self.stream.get_raw_message(sequence).await.unwrap();
            self.messages.push(message);
        }
    }

    /// What the messages say they are, in the order of the stream.
    pub(crate) fn received(&self) -> Vec<Received> {
        let of = |message: &StreamMessage| {
            let body: Value = serde_json::from_slice(&message.payload).unwrap();
            let data = &body["data"];
            Received {
                open_kfid: OpenKfid::from(data["open_kfid"].as_str().unwrap()),
                msgid: Msgid::new(data["msgid"].as_str().unwrap()),
                external_userid: data["external_userid"].as_str().map(ExternalUserid::from),
            }
        };
        self.messages.iter().map(of).collect()
    }
}

/// The header of that name, which must be there.
pub(crate) fn header(message: &StreamMessage, name: &str) -> String {
    let value = message.headers.get(name).unwrap_or_else(|| panic!("no {name}"));
    value.to_string()
}
