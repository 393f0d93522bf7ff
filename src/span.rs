//! The spans of a message's way: `callback`, `pull` and `attempt`.
//!
//! They are plain `tracing` spans under a target of their own, [`TARGET`]. The log never wants that target, whatever its
//! filter says, so that a span nobody exports costs a look at one number. With the feature `otel` and an endpoint in the
//! config they are sent to a collector.
//!
//! | Span | Fields | Belongs together by |
//! |---|---|---|
//! | `callback` | `app`, `result` | – |
//! | `pull` | `app`, `open_kfid`, `pages`, `end`; an event `stored` with the `msgid` of each new message | a link to the `callback` that woke it |
//! | `attempt` | `handler`, `app`, `open_kfid`, `msgid`, `attempt`, `result` | the `msgid` |
//!
//! An attempt may come days and a restart after its pull, so it is no child of it. What a handler asks of others is
//! under its attempt: the forwarder passes it on as `traceparent`.

/// Target of the spans and their events.
pub const TARGET: &str = "wecom_kf::span";

/// Marks `span` as failed for whoever collects it. The span must have been made with an empty `otel.status_code`.
pub(crate) fn failed(span: &tracing::Span) {
    span.record("otel.status_code", "error");
}
