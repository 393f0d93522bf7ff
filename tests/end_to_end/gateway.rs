//! WeCom's API for programs that must not learn an access token: with the SDK that people use, and with clients that
//! mean no good.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use wecom_kf::id::{ExternalUserid, OpenKfid};
use wecom_kf::simulator::{Dial, Fault};

use crate::bot::Language;
use crate::privacy::{self, until_counted};
use crate::server::Server;
use crate::stage::{Pace, Stage};

const KEY: &str = "canary-key-of-the-bots-0123456789abcdef";
const NEXT_KEY: &str = "canary-key-that-comes-next-0123456789ab";
/// The SDK, in the version whose client knows customer service.
const WECHATPY: &str = "wechatpy==2.0.0a26";
/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// More connections than the gateway serves at once.
const CROWD: usize = 300;

/// A server with a gateway, and a customer who has just written.
struct Scene {
    stage: Stage,
    account: OpenKfid,
    customer: ExternalUserid,
}

impl Scene {
    async fn with_keys(keys: &[&str]) -> Self {
        let stage = Stage::with_accounts(1, Pace::Fast).await;
        stage.add_to_config(&format!(
            "\n[gateway]\nlisten = \"127.0.0.1:0\"\nkeys = {keys:?}\nrequest_timeout = \"60s\"\n"
        ));
        let account = stage.accounts().remove(0);
        let customer = ExternalUserid::from("wmCustomerOfTheGateway0000000001");
        stage.wecom.customer(&account, &customer).writes("在吗？").unwrap();
        Self {
            stage,
            account,
            customer,
        }
    }

    /// A message to the customer.
    fn message(&self, text: &str) -> String {
        serde_json::json!({
            "touser": self.customer.as_str(), "open_kfid": self.account.as_str(),
            "msgtype": "text", "text": { "content": text },
        })
        .to_string()
    }

    /// What the Python program says, by its steps.
    async fn run_wechatpy(&self, base: &str, how: &str, kibibytes: usize) -> Vec<Value> {
        let mut python = Command::new("python3");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/bots/wechatpy_client.py");
        let package = tokio::task::block_in_place(|| Language::Python.package(WECHATPY));
        python
            .arg(script)
            .env("PYTHONPATH", package)
            .env("BASE", base)
            .env("KEY", KEY)
            .env("CORP", "ww0123456789abcdef")
            .env("HOW", how)
            .env("ACCOUNT", self.account.as_str())
            .env("CUSTOMER", self.customer.as_str())
            .env("KIBIBYTES", kibibytes.to_string())
            .stdin(Stdio::null());
        let output = tokio::task::block_in_place(|| python.output()).expect("python starts");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let steps = String::from_utf8(output.stdout).unwrap();
        steps.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn base_of(server: &Server) -> String {
    format!("http://{}/apps/main", server.gateway.expect("the config opens it"))
}

/// What the gateway answers: status, headers, and body.
struct Said {
    status: u16,
    headers: String,
    body: String,
}

impl Said {
    fn errcode(&self) -> i64 {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body));
        body["errcode"].as_i64().unwrap()
    }
}

async fn post(url: String, key: &str, body: String) -> Said {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.post(url).header("authorization", format!("Bearer {key}"));
    let answer = request.body(body).send().await.unwrap();
    Said {
        status: answer.status().as_u16(),
        headers: format!("{:?}", answer.headers()),
        body: answer.text().await.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wechatpy_speaks_to_a_customer_by_another_base_url() {
    // A file that is kept, and one that is streamed.
    for (how, kibibytes) in [("key", 10), ("ticket", 1500)] {
        let scene = Scene::with_keys(&[NEXT_KEY, KEY]).await;
        let server = scene.stage.start();
        let steps = scene.run_wechatpy(&base_of(&server), how, kibibytes).await;
        let step = |name: &str| steps.iter().find(|step| step["step"] == name).unwrap();
        assert_eq!(step("state")["state"], 0);
        assert_eq!(step("text")["msgid"], format!("from-python-{how}"));
        assert_eq!(step("again")["errcode"], 95033);
        assert_eq!(step("upload")["type"], "image");
        assert_eq!(step("download")["whole"], true);
        assert!(
            step("download")["name"].as_str().unwrap().contains("图.png"),
            "{steps:?}"
        );
        assert_eq!(step("gone")["errcode"], 40007);
        assert_eq!(step("customers")["known"], 1);
        assert_eq!(step("off the list")["status"], 404);

        let seen = scene.stage.wecom.seen();
        let seen: Vec<_> = seen.iter().map(|seen| (&*seen.msgtype, seen.text.as_deref())).collect();
        assert_eq!(seen, [("text", Some("您好，有什么可以帮您？")), ("image", None)]);
        assert!(server.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_in_the_middle_is_not_noticed_by_the_caller() {
    let scene = Scene::with_keys(&[KEY]).await;
    let server = scene.stage.start();
    let send = format!("{}/cgi-bin/kf/send_msg", base_of(&server));
    for n in 0..4 {
        scene.stage.wecom.set_fault(Fault::AccessTokenRevoked, Dial::Next(1));
        let said = post(send.clone(), KEY, scene.message(&format!("第{n}条"))).await;
        assert_eq!((said.status, said.errcode()), (200, 0), "{}", said.body);
    }
    let seen = scene.stage.wecom.seen();
    let texts: Vec<_> = seen.iter().filter_map(|seen| seen.text.clone()).collect();
    assert_eq!(texts, ["第0条", "第1条", "第2条", "第3条"]);
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_without_a_call_that_is_refused() {
    let scene = Scene::with_keys(&[KEY]).await;
    let list = |server: &Server| format!("{}/cgi-bin/kf/account/list", base_of(server));
    let status = async |server: &Server, key: &str| post(list(server), key, "{}".to_owned()).await.status;

    let server = scene.stage.start();
    let gettoken = format!("{}/cgi-bin/gettoken?corpid=ww1&corpsecret={KEY}", base_of(&server));
    let granted = reqwest::get(gettoken).await.unwrap().text().await.unwrap();
    let granted: Value = serde_json::from_str(&granted).unwrap();
    let ticket = granted["access_token"].as_str().unwrap();
    assert_eq!(status(&server, KEY).await, 200);
    assert_eq!(status(&server, NEXT_KEY).await, 401);
    assert!(server.stop().success());

    scene
        .stage
        .change(&format!("{:?}", [KEY]), &format!("{:?}", [NEXT_KEY, KEY]));
    let server = scene.stage.start();
    for good in [KEY, NEXT_KEY, ticket] {
        assert_eq!(
            status(&server, good).await,
            200,
            "also what was handed out before the restart"
        );
    }
    assert!(server.stop().success());

    scene
        .stage
        .change(&format!("{:?}", [NEXT_KEY, KEY]), &format!("{:?}", [NEXT_KEY]));
    let server = scene.stage.start();
    assert_eq!(status(&server, NEXT_KEY).await, 200);
    for gone in [KEY, ticket] {
        assert_eq!(status(&server, gone).await, 401);
    }
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_what_is_on_the_list_and_nothing_that_callers_write() {
    let scene = Scene::with_keys(&[KEY]).await;
    let server = scene.stage.start();
    let base = base_of(&server);
    post(format!("{base}/cgi-bin/kf/send_msg"), KEY, scene.message("好的")).await;
    post(format!("{base}/cgi-bin/kf/send_msg"), KEY, scene.message("")).await;
    post(format!("{base}/cgi-bin/kf/canary_path"), KEY, String::new()).await;
    post(format!("{base}/cgi-bin/kf/send_msg"), "canary-wrong", String::new()).await;
    post(base.replace("main", "canary_app"), "canary-wrong", String::new()).await;
    let lines = [
        r#"wecom_kf_api_requests_total{call="kf/send_msg",errcode="0"} 1"#,
        r#"wecom_kf_api_requests_total{call="kf/send_msg",errcode="44004"} 1"#,
        r#"wecom_kf_gateway_requests_total{app="main",result="passed"} 2"#,
        r#"wecom_kf_gateway_requests_total{app="main",result="not_found"} 1"#,
        r#"wecom_kf_gateway_requests_total{app="main",result="unauthorized"} 1"#,
        r#"wecom_kf_gateway_requests_total{app="unknown",result="unauthorized"} 1"#,
    ];
    until_counted(&server, &lines.map(str::to_owned)).await;
    let metrics = reqwest::get(format!("http://{}/metrics", server.admin)).await.unwrap();
    assert!(!metrics.text().await.unwrap().contains("canary"));
    assert!(server.stop().success());
}

/// Sends `bytes` as they are, and reads the first line of what comes back.
fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.contains(&b'\r') {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
        }
    }
    String::from_utf8_lossy(&answer)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_clients_get_nowhere_and_hold_nobody_up() {
    let scene = Scene::with_keys(&[KEY]).await;
    let server = scene.stage.start();
    let (address, base) = (server.gateway.unwrap(), base_of(&server));
    let before = scene.stage.wecom.seen().len();
    tokio::task::block_in_place(|| {
        let head = |path: &str, more: &str| {
            format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n{more}\r\n").into_bytes()
        };
        let send = "/apps/main/cgi-bin/kf/send_msg";
        let huge = format!("x-huge: {}\r\n", "h".repeat(64 * 1024));
        for (request, status) in [
            (head(send, &huge), "431"),
            (head(&format!("{send}?a={}", "q".repeat(64 * 1024)), ""), "431"),
            (head("/apps/main/cgi-bin/kf/../gettoken", ""), "404"),
            (head("/apps/main/cgi-bin/kf/..%2fgettoken", ""), "404"),
            (head("/apps/main/cgi-bin/kf%2fsend_msg", ""), "404"),
            (head("/apps/main//cgi-bin/kf/send_msg", ""), "404"),
            (head("http://qyapi.weixin.qq.com/cgi-bin/kf/send_msg", ""), "404"),
            (head(send, "content-length: 5\r\ncontent-length: 6\r\n"), "400"),
            (head(send, "content-length: 300000\r\n"), "413"),
            (
                head("/apps/main/cgi-bin/media/upload", "content-length: 99999999999\r\n"),
                "413",
            ),
            (
                b"CONNECT qyapi.weixin.qq.com:443 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
                "401",
            ),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), "400"),
        ] {
            let answered = raw(address, &request);
            let asked = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
            assert!(
                answered.starts_with(&format!("HTTP/1.1 {status} ")),
                "{asked}: {answered:?}"
            );
        }
    });
    // Half say nothing, half never end their body; all keep their connections.
    let begun = format!(
        "POST /apps/main/cgi-bin/kf/send_msg HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 9\r\n\r\n"
    );
    let crowd: Vec<_> = (0..CROWD)
        .map(|n| {
            let mut stream = TcpStream::connect(address).unwrap();
            if n % 2 == 0 {
                let _ = stream.write_all(begun.as_bytes());
            }
            stream
        })
        .collect();
    // Whoever comes in the moment in which nobody has dawdled yet is told to come again.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let spoken = async {
        loop {
            let request = http.post(format!("{base}/cgi-bin/kf/send_msg?access_token={KEY}"));
            match request.body(scene.message("您好")).send().await {
                Ok(answer) if answer.status() == 200 => return,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let spoken = tokio::time::timeout(PATIENCE, spoken).await;
    spoken.expect("the crowd holds nobody up");
    drop(crowd);
    assert_eq!(scene.stage.wecom.seen().len(), before + 1, "nothing else was said");
    assert!(server.stop().success());
}

/// Stands before WeCom and notes what must not be said elsewhere.
#[derive(Clone)]
struct Watcher {
    secrets: Arc<Mutex<BTreeSet<String>>>,
    upstream: Arc<str>,
    http: reqwest::Client,
}

async fn pass_on(
    State(watcher): State<Watcher>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let note = |value: &str| watcher.secrets.lock().unwrap().insert(value.to_owned());
    for (key, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if matches!(&*key, "access_token" | "corpsecret") {
            note(&value);
        }
    }
    let mut request = watcher.http.request(method, format!("{}{uri}", watcher.upstream));
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let Ok(answer) = request.body(body).send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let Ok(body) = answer.bytes().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    // As a WeCom that says more than it should.
    if let Some((_, token)) = uri.to_string().split_once("access_token=") {
        let token = token.split('&').next().unwrap();
        headers.insert("x-debug", HeaderValue::from_str(token).unwrap());
        if let Ok(mut said) = serde_json::from_slice::<Value>(&body) {
            said["hint"] = format!("access_token={token}").into();
            headers.remove(header::CONTENT_LENGTH);
            return (status, headers, said.to_string()).into_response();
        }
    }
    (status, headers, Body::from(body)).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn wecoms_token_and_our_keys_are_never_said() {
    let scene = Scene::with_keys(&[KEY]).await;
    let watcher = Watcher {
        secrets: Arc::default(),
        upstream: scene.stage.wecom.base_url().into(),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    };
    let proxy = Router::new()
        .fallback(pass_on)
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(watcher.clone());
    let proxy = privacy::serve(proxy).await;
    scene.stage.change(&scene.stage.wecom.base_url(), &proxy);
    scene
        .stage
        .change("format = \"json\"", "format = \"json\"\nlevel = \"trace\"");
    let server = scene.stage.start();
    let base = base_of(&server);
    let mut said = scene
        .run_wechatpy(&base, "ticket", 1500)
        .await
        .iter()
        .map(Value::to_string)
        .collect::<Vec<_>>();
    for fault in [
        Fault::AccessTokenRevoked,
        Fault::Busy,
        Fault::Http5xx,
        Fault::Html,
        Fault::TruncatedJson,
    ] {
        scene.stage.wecom.set_fault(fault, Dial::Next(1));
        for path in [
            "kf/send_msg",
            "kf/account/list",
            "media/get?media_id=x",
            "kf/send_msg?debug=1",
            "user/get",
        ] {
            let answer = post(format!("{base}/cgi-bin/{path}"), KEY, "{}".to_owned()).await;
            said.extend([answer.headers, answer.body]);
        }
    }
    for (query, shown) in [("access_token=canary0of0a0stranger", ""), ("", "canary0of0a0stranger")] {
        let answer = post(format!("{base}/cgi-bin/kf/send_msg?{query}"), shown, "{}".to_owned()).await;
        said.extend([answer.headers, answer.body]);
    }
    let log = privacy::stop(server);
    let mut secrets = std::mem::take(&mut *watcher.secrets.lock().unwrap());
    assert!(secrets.len() > 2, "a corp secret and several tokens: {}", secrets.len());
    assert!(log.iter().any(|line| line.contains("gateway turned a request away")));
    secrets.extend([KEY.to_owned(), "canary0of0a0stranger".to_owned()]);
    let places = [("answers", said.join("\n")), ("log", log.join("\n"))];
    for (place, text) in &places {
        let leaks: Vec<_> = secrets.iter().filter(|secret| text.contains(*secret)).collect();
        assert!(leaks.is_empty(), "{place}: {leaks:?}");
    }
    println!(
        "{} answers, {} lines, {} secrets: leaks=0",
        said.len(),
        log.len(),
        secrets.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_section_there_is_no_gateway() {
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    let server = stage.start();
    assert_eq!(server.gateway, None);
    for address in [server.callbacks, server.admin] {
        let answer = post(
            format!("http://{address}/apps/main/cgi-bin/kf/send_msg"),
            KEY,
            "{}".to_owned(),
        )
        .await;
        assert_eq!(answer.status, 404);
    }
    assert!(server.stop().success());
}
