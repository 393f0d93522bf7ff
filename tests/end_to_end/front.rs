//! A proxy before the server: real nginx or real Caddy, with the config that `deploy/` offers for copying.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::debian::{self, Daemon};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Nginx,
    Caddy,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Nginx, Self::Caddy];
}

/// A running proxy with a certificate of its own.
pub(crate) struct Front {
    /// Where WeCom finds it, over HTTPS.
    pub(crate) address: SocketAddr,
    /// Where it expects the server.
    pub(crate) upstream: SocketAddr,
    /// Its certificate, in PEM.
    pub(crate) certificate: String,
    _daemon: Daemon,
    pub(crate) folder: TempDir,
}

impl Front {
    /// Starts one before `upstream`, with the config of `deploy/` but for the lines that contain `without`.
    pub(crate) fn start(kind: Kind, upstream: SocketAddr, without: &[&str]) -> Self {
        Self::before(upstream, |folder, place| match kind {
            Kind::Nginx => {
                let server = ("127.0.0.1:8080", upstream.to_string());
                nginx(folder, place, "nginx.conf", &[server], without)
            }
            Kind::Caddy => caddy(folder, place, without),
        })
    }

    /// Starts nginx before two replicas, with the config of `deploy/replicas/`.
    pub(crate) fn before_replicas(replicas: [SocketAddr; 2]) -> Self {
        let [one, two] = replicas.map(|replica| replica.to_string());
        let servers = [("replica-1:8080", one), ("replica-2:8080", two)];
        Self::before(replicas[0], |folder, place| {
            nginx(folder, place, "replicas/nginx.conf", &servers, &[])
        })
    }

    fn before(upstream: SocketAddr, command: impl FnOnce(&Path, &Place) -> Command) -> Self {
        let folder = TempDir::new().expect("a folder");
        let address = debian::free_address();
        let certified = rcgen::generate_simple_self_signed([address.ip().to_string()]).expect("a certificate");
        let certificate = certified.cert.pem();
        let (pem, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        fs::write(&pem, &certificate).expect("it can be written");
        fs::write(&key, certified.signing_key.serialize_pem()).expect("it can be written");

        let place = Place {
            address,
            upstream,
            certificate: pem.display().to_string(),
            key: key.display().to_string(),
        };
        let command = command(folder.path(), &place);
        Self {
            address,
            upstream,
            certificate,
            _daemon: Daemon::start(command, folder.path(), address),
            folder,
        }
    }

    /// Status and body of the answer to what `arguments` make curl ask of `path`.
    pub(crate) fn curl(&self, path: &str, arguments: &[&str]) -> (u16, String) {
        let output = debian::installed("curl", "/usr/bin/curl")
            .args(["--silent", "--show-error", "--max-time", "60"])
            .args(["--write-out", "\n%{http_code}", "--cacert"])
            .arg(self.folder.path().join("certificate.pem"))
            .args(arguments)
            .arg(format!("https://{}{path}", self.address))
            .output()
            .expect("curl runs");
        let printed = String::from_utf8_lossy(&output.stdout);
        let (body, status) = printed.rsplit_once('\n').expect("a line with the status");
        // Zero if there was no answer.
        let status = status.parse().expect("a status");
        if status == 0 {
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
        }
        (status, body.to_owned())
    }
}

/// What differs from one machine to the next.
struct Place {
    address: SocketAddr,
    upstream: SocketAddr,
    certificate: String,
    key: String,
}

/// A file of `deploy/`, but for the lines that contain `without`, and with each pair's left side replaced by its right.
fn adapted(name: &str, without: &[&str], changes: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    let mut text = fs::read_to_string(path).expect("it can be read");
    for (here, there) in changes {
        assert!(text.contains(here), "{name} has no {here:?}");
        text = text.replace(here, there);
    }
    for unwanted in without {
        assert!(text.contains(unwanted), "{name} has no {unwanted:?}");
        text = text
            .lines()
            .filter(|line| !line.contains(unwanted))
            .collect::<Vec<_>>()
            .join("\n");
    }
    text
}

/// nginx with the site of `name`, where each of `servers` stands for an address of ours.
fn nginx(folder: &Path, place: &Place, name: &str, servers: &[(&str, String)], without: &[&str]) -> Command {
    let ours = [
        ("listen 443", format!("listen {}", place.address)),
        ("kf.example.com;", format!("{};", place.address.ip())),
        ("/etc/ssl/kf.example.com/fullchain.pem", place.certificate.clone()),
        ("/etc/ssl/kf.example.com/privkey.pem", place.key.clone()),
    ];
    let site = adapted(name, without, &[servers, &ours].concat());
    fs::write(folder.join("site.conf"), site).expect("it can be written");
    // What /etc/nginx/nginx.conf is to a machine that has nothing else to serve.
    let main = "daemon off; pid nginx.pid; error_log stderr; events {} http {
            access_log off;
            client_body_temp_path body; proxy_temp_path proxy;
            fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
            include site.conf;
        }";
    fs::write(folder.join("nginx.conf"), main).expect("it can be written");
    let mut command = debian::installed("nginx-light", "/usr/sbin/nginx");
    command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "stderr"]);
    command
}

fn caddy(folder: &Path, place: &Place, without: &[&str]) -> Command {
    let Place {
        address,
        upstream,
        certificate,
        key,
    } = place;
    let changes = [
        ("127.0.0.1:8080", upstream.to_string()),
        (
            "kf.example.com {",
            format!(
                "https://{address} {{\n\tbind {}\n\ttls {certificate} {key}",
                address.ip()
            ),
        ),
        (
            "\tservers {",
            "\tadmin off\n\tauto_https disable_redirects\n\tservers {".to_owned(),
        ),
    ];
    let text = adapted("Caddyfile", without, &changes);
    let config = folder.join("Caddyfile");
    fs::write(&config, text).expect("it can be written");
    let mut command = debian::installed("caddy", "/usr/bin/caddy");
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(config)
        .env("HOME", folder)
        .env("XDG_DATA_HOME", folder)
        .env("XDG_CONFIG_HOME", folder);
    command
}
