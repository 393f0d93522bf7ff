//! `wecom-kf keygen`: values for WeCom's console, for a handler and for the gateway, from the system's randomness.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use secrecy::ExposeSecret as _;
use wecom_kf::callback::KeyPair;
use wecom_kf::handler::SigningSecret;
use wecom_kf::http::GatewayKey;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    let mut rng = rand::rng();
    let keys = KeyPair::generate(&mut rng);
    let (token, key) = (keys.token.expose_secret(), keys.encoding_aes_key.expose_secret());
    let secret = SigningSecret::generate(&mut rng);
    let secret = secret.expose_secret();
    let gateway_key = GatewayKey::generate(&mut rng);
    let gateway_key = gateway_key.expose_secret();
    writeln!(
        stdout(),
        r#"# For the app's page in WeCom's console (接收消息 → 设置API接收), and for [[apps]] in the config:
token = "{token}"
encoding_aes_key = "{key}"
# For a forward handler, and for the service that receives it:
signing_secret = "{secret}"
# For [gateway], and for the programs that call it:
keys = ["{gateway_key}"]"#
    )?;
    Ok(ExitCode::SUCCESS)
}
