//! `wecom-kf simulate`: a WeCom to develop against, without credentials.

use std::io::{Write as _, stdout};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;
use wecom_kf::shutdown::Signals;
use wecom_kf::simulator::samples::{Chatter, customers};
use wecom_kf::simulator::{CallbackTarget, Settings, Simulator};

/// The same at every start, so that a config stays good. Known to everybody: of no use anywhere else.
const TOKEN: &str = "SimulatedToken";
const ENCODING_AES_KEY: &str = "SimulatedEncodingAESKey00000000000000000000";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Address to serve WeCom's API on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// URL that callbacks are sent to.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/callback/main")]
    callback: String,
    /// Let a customer say something this often.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    chatter: Option<Duration>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let signals = Signals::listen()?;
        let mut settings = Settings::default();
        settings.listen = options.listen;
        let (corp_id, secret) = (settings.corp_id.clone(), settings.secret.clone());
        let account = super::first_account(&settings)?;
        let (token, key) = (SecretString::from(TOKEN), SecretString::from(ENCODING_AES_KEY));
        let target = CallbackTarget::new(&options.callback, token, key, corp_id.as_str());
        settings.callback = Some(target.with_context(|| format!("--callback {}", options.callback))?);
        let wecom = Simulator::start(settings)
            .await
            .with_context(|| format!("cannot serve on {}: name a free address with --listen", options.listen))?;
        let base = wecom.base_url();
        writeln!(
            stdout(),
            r#"Simulated WeCom on {base}, calling back {callback}

Config for wecom-kf serve:

[[apps]]
name = "main"
corp_id = "{corp_id}"
secret = "{secret}"
api_base = "{base}"
callback_keys = [{{ token = "{TOKEN}", encoding_aes_key = "{ENCODING_AES_KEY}" }}]

[[handlers]]
name = "log"
kind = "log"

Say something as a customer, or play one of everything:

curl -d '{{"text": "你好"}}' {base}/simulator/messages
curl -X POST {base}/simulator/conversation

Open the chat, which brings a welcome code, and look at what was answered:

curl -X POST {base}/simulator/enter
curl {base}/simulator/seen

More under "simulator" in the documentation of the library. Ctrl-C ends it."#,
            callback = options.callback,
            secret = secret.expose_secret(),
        )?;
        let stop = CancellationToken::new();
        tokio::spawn(signals.watch(stop.clone(), || std::process::exit(1)));
        let mut talk = Chatter::new(rand::random(), customers(rand::random(), 5));
        loop {
            let pause = async {
                match options.chatter {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pause => {}
                () = stop.cancelled() => break,
            }
            if let Some(draft) = talk.next() {
                wecom.say(&account, draft)?;
            }
        }
        wecom.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}
