//! The files for systemd and for containers: that systemd takes them, how much they leave open, and that they keep pace
//! with the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use tempfile::TempDir;
use wecom_kf::config::{Config, Environment};
use wecom_kf::http::Limits;

use crate::debian;

/// Most that `systemd-analyze security` may find exposed, in tenths: 0 is nothing, 100 everything.
const MOST_EXPOSED: &str = "--threshold=11";

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    fs::read_to_string(path).expect("it can be read")
}

/// The units as they would be installed, but for the place of the binary, which this machine need not have there.
struct Units {
    folder: TempDir,
    service: String,
}

impl Units {
    fn laid_out() -> Self {
        let folder = TempDir::new().expect("a folder");
        let service = deployed("wecom-kf.service").replace("/usr/local/bin/wecom-kf", env!("CARGO_BIN_EXE_wecom-kf"));
        fs::write(folder.path().join("wecom-kf.service"), &service).expect("it can be written");
        fs::write(folder.path().join("wecom-kf.socket"), deployed("wecom-kf.socket")).expect("it can be written");
        Self { folder, service }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Everything that stands behind `key=`.
    fn values(&self, key: &str) -> Vec<&str> {
        let lines = self.service.lines();
        lines
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .collect()
    }

    fn seconds(&self, key: &str) -> Duration {
        let values = self.values(key);
        let [value] = values[..] else {
            panic!("{key} stands there {} times", values.len())
        };
        humantime::parse_duration(value).expect("a duration")
    }

    fn analyze(&self, arguments: &[&str], names: &[&str]) -> Output {
        debian::installed("systemd", "/usr/bin/systemd-analyze")
            .args(arguments)
            .args(names.iter().map(|name| self.path(name)))
            .output()
            .expect("systemd-analyze runs")
    }
}

#[test]
fn systemd_takes_the_units_without_a_complaint() {
    let units = Units::laid_out();
    let output = units.analyze(&["verify", "--man=no"], &["wecom-kf.service", "wecom-kf.socket"]);
    // A key that it does not know is no failure to it.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_service_leaves_little_exposed() {
    let units = Units::laid_out();
    let arguments = ["security", "--offline=true", "--no-pager", MOST_EXPOSED];
    let output = units.analyze(&arguments, &["wecom-kf.service"]);
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{}", said.lines().last().unwrap_or_default());
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn who_supervises_the_server_knows_its_grace_its_exit_codes_and_its_appetite() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    let environment = ["WECOM_SECRET", "WECOM_TOKEN"].map(|name| (name, "x")).into_iter();
    let environment = environment.chain([("WECOM_ENCODING_AES_KEY", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG")]);
    let config = Config::load(&example, &environment.collect::<Environment>())
        .expect("the example is good")
        .config;
    let grace = config.server.shutdown_grace;
    let connections = Limits::default().max_connections;

    let units = Units::laid_out();
    assert!(units.seconds("TimeoutStopSec") > grace);
    assert_eq!(units.values("RestartPreventExitStatus"), ["2 78"]);
    let files: usize = units.values("LimitNOFILE")[0].parse().expect("a number");
    assert!(files > 2 * connections);
    let compose = deployed("compose.yaml");
    let value = |key: &str| {
        let mut lines = compose.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.next().unwrap_or_else(|| panic!("no {key}")).trim().to_owned()
    };
    assert!(humantime::parse_duration(&value("stop_grace_period:")).expect("a duration") > grace);
    assert_eq!(value("nofile:"), files.to_string());
    assert_eq!(
        (value("read_only:"), value("cap_drop:")),
        ("true".into(), "[ALL]".into())
    );
    assert_eq!(value("security_opt:"), r#"["no-new-privileges:true"]"#);

    // One address, wherever it is written.
    let port = config.server.listen.port();
    let address = format!("127.0.0.1:{port}");
    for name in ["wecom-kf.socket", "compose.yaml", "nginx.conf", "Caddyfile"] {
        assert!(deployed(name).contains(&address), "{name} does not say {address}");
    }
}
