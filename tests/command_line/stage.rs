//! A simulated WeCom, a folder, and the config of a server for both.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use wecom_kf::callback::{GeneratedKeys, KeyPair};
use wecom_kf::simulator::{CallbackTarget, Settings, Simulator};

use crate::server::Server;

pub(crate) const ACCOUNT: &str = "wkSimulatedAccount00000000000001";

pub(crate) struct Stage {
    pub(crate) wecom: Simulator,
    pub(crate) folder: TempDir,
    pub(crate) config: PathBuf,
    keys: GeneratedKeys,
    corp_id: String,
    secret: String,
}

impl Stage {
    /// A stage whose config is good, with `handlers` at its end.
    pub(crate) async fn new(handlers: &str) -> Self {
        let settings = Settings::default();
        let (corp_id, secret) = (settings.corp_id.to_string(), settings.secret.expose_secret().to_owned());
        let wecom = Simulator::start(settings).await.unwrap();
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("config.toml");
        let keys = KeyPair::generate(&mut rand::rng());
        let stage = Self {
            wecom,
            folder,
            config,
            keys,
            corp_id,
            secret,
        };
        let [token, key] = [&stage.keys.token, &stage.keys.encoding_aes_key].map(|key| key.expose_secret());
        let text = config_text(
            &stage.folder.path().join("kf.db"),
            &stage.wecom.base_url(),
            [&stage.corp_id, &stage.secret, token, key],
        );
        stage.write(&(text + handlers));
        stage
    }

    /// The config, as it is.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(&self.config).unwrap()
    }

    /// Puts `new` where `old` stands in the config.
    pub(crate) fn change(&self, old: &str, new: &str) {
        let text = self.text();
        assert!(text.contains(old), "no {old:?} in {text}");
        self.write(&text.replace(old, new));
    }

    fn write(&self, text: &str) {
        write_private(&self.config, text);
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("kf.db")
    }

    /// What must never be shown.
    pub(crate) fn secrets(&self) -> [&str; 3] {
        [
            &self.secret,
            self.keys.token.expose_secret(),
            self.keys.encoding_aes_key.expose_secret(),
        ]
    }

    /// Starts a server, and tells WeCom where it listens.
    pub(crate) fn start(&self) -> Server {
        let server = Server::start(&self.config);
        let url = format!("http://{}/callback/main", server.callbacks);
        let GeneratedKeys {
            token,
            encoding_aes_key,
            ..
        } = &self.keys;
        let target = CallbackTarget::new(&url, token.clone(), encoding_aes_key.clone(), self.corp_id.as_str());
        self.wecom.set_callback(Some(target.unwrap()));
        server
    }
}

/// A good config without handlers, for these four: corp id, secret, token, EncodingAESKey.
pub(crate) fn config_text(
    store: &Path,
    api_base: &str,
    [corp_id, secret, token, encoding_aes_key]: [&str; 4],
) -> String {
    format!(
        r#"[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
[log]
format = "json"
[store]
url = "sqlite://{}"
[[apps]]
name = "main"
corp_id = "{corp_id}"
secret = "{secret}"
api_base = "{api_base}"
callback_keys = [{{ token = "{token}", encoding_aes_key = "{encoding_aes_key}" }}]
"#,
        store.display(),
    )
}

/// Writes a file that only its owner may read: others would earn a warning.
pub(crate) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
