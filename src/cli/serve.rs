//! `wecom-kf serve`.

use std::process::{ExitCode, exit};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use wecom_kf::app::App;
use wecom_kf::config::Config;
use wecom_kf::shutdown::Signals;
use wecom_kf::telemetry;

pub(super) fn run(config: Config) -> anyhow::Result<ExitCode> {
    telemetry::init_logs(&config.log)?;
    super::runtime()?.block_on(async {
        // Heard from the first moment, so that a signal during a slow start is not lost.
        let signals = Signals::listen()?;
        let stop = CancellationToken::new();
        tokio::spawn(signals.watch(stop.clone(), || exit(1)));
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            "starting with this config:\n{config}"
        );
        let app = App::builder(config).metrics(telemetry::init_metrics()?).build().await?;
        // In a task of its own, so that a panic becomes an exit code that supervisors understand.
        tokio::spawn(app.bind().await?.run(stop))
            .await
            .context("the server died")?;
        Ok(ExitCode::SUCCESS)
    })
}
