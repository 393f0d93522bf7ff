//! `wecom-kf keygen`: values for WeCom's console and for a handler, from the system's randomness.

use std::process::ExitCode;

use secrecy::ExposeSecret as _;
use wecom_kf::callback::KeyPair;
use wecom_kf::handler::SigningSecret;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    let mut rng = rand::rng();
    let keys = KeyPair::generate(&mut rng);
    println!("# For the app's page in WeCom's console (接收消息 → 设置API接收), and for [[apps]] in the config:");
    println!("token = \"{}\"", keys.token.expose_secret());
    println!("encoding_aes_key = \"{}\"", keys.encoding_aes_key.expose_secret());
    println!("# For a forward handler, and for the service that receives it:");
    println!(
        "signing_secret = \"{}\"",
        SigningSecret::generate(&mut rng).expose_secret()
    );
    Ok(ExitCode::SUCCESS)
}
