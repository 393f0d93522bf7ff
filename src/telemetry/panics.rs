//! Panics, told in the log: the default report is several lines of another form, which would break a JSON log.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::thread;

/// Has every panic from now on written to the log as one line, in place of the report on standard error. With
/// `RUST_BACKTRACE` set the line has the way there.
pub(super) fn log() {
    panic::set_hook(Box::new(tell));
}

fn tell(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let location = info.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(
        thread = thread.name(),
        location,
        reason = said(info.payload()),
        backtrace,
        "panicked"
    );
}

fn said(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied())
}
