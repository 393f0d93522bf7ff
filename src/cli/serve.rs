//! `wecom-kf serve`.
//!
//! Callbacks come in at `server.listen`, or on the socket that a supervisor opened and hands over as systemd does
//! (`LISTEN_FDS`): it stays open while the server restarts, and callers wait in its queue instead of being refused.
//!
//! Source: <https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html>

use std::process::{ExitCode, exit};

use anyhow::Context as _;
use listenfd::ListenFd;
use tokio_util::sync::CancellationToken;
use wecom_kf::app::App;
use wecom_kf::config::Loaded;
use wecom_kf::shutdown::Signals;
use wecom_kf::telemetry;

pub(super) fn run(loaded: Loaded) -> anyhow::Result<ExitCode> {
    // Changes the environment, so before there are other threads.
    let socket = ListenFd::from_env()
        .take_tcp_listener(0)
        .context("LISTEN_FDS announces a socket for callbacks: hand over one that listens, or unset it")?;
    let Loaded { config, warnings, .. } = loaded;
    let _logs = telemetry::init_logs(&config.log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = super::runtime()?;
    let ended = runtime.block_on(async {
        // Heard from the first moment, so that a signal during a slow start is not lost.
        let signals = Signals::listen()?;
        let stop = CancellationToken::new();
        tokio::spawn(signals.watch(stop.clone(), || exit(1)));
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            "starting with this config:\n{config}"
        );
        let app = App::builder(config).metrics(telemetry::init_metrics()?).build().await?;
        let bound = match socket {
            Some(socket) => app.bind_to(socket).await?,
            None => app.bind().await?,
        };
        // In a task of its own, so that a panic becomes an exit code that supervisors understand.
        tokio::spawn(bound.run(stop)).await.context("the server died")?;
        Ok(ExitCode::SUCCESS)
    });
    // What still runs, the look-up of a name that nobody answers for example, is not worth waiting for.
    runtime.shutdown_background();
    ended
}
