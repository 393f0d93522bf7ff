//! What an operator may write, and what they are told when it is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use secrecy::ExposeSecret as _;
use wecom_kf::api::Call;
use wecom_kf::config::{Config, ConfigError, Environment, HandlerKind, Loaded};
use wecom_kf::message::Origin;

/// An application in which nothing is wrong.
const APP: &str = r#"
[[apps]]
name = "main"
corp_id = "ww1"
secret = "hush"
callback_keys = [{ token = "hush", encoding_aes_key = "hush567890123456789012345678901234567890123" }]
"#;

/// A forwarder in which nothing is wrong.
const FORWARDER: &str = r#"
[[handlers]]
name = "bot"
kind = "forward"
url = "http://127.0.0.1:9000/kf"
signing_secret = "whsec_hushhushhushhushhushhushhushhushhushhushhush"
"#;

/// A publisher to NATS in which nothing is wrong.
const PUBLISHER: &str = r#"
[[handlers]]
name = "events"
kind = "nats"
servers = ["nats://127.0.0.1:4222"]
"#;

/// A gateway in which nothing is wrong.
const GATEWAY: &str = r#"
[gateway]
listen = "127.0.0.1:8082"
keys = ["hush5678901234567890123456789012"]
"#;

/// `entry` with each line of `change` in the place of that with the same key; `-key` takes it away.
fn changed(entry: &str, change: &str) -> String {
    let key = |line: &str| line.trim_start_matches('-').split(' ').next().map(str::to_owned);
    let stays = |line: &&str| change.lines().all(|new| key(new) != key(line));
    let old = entry.lines().filter(stays);
    let new = change.lines().filter(|line| !line.starts_with('-'));
    old.chain(new).map(|line| format!("{line}\n")).collect()
}

fn app(change: &str) -> String {
    changed(APP, change)
}

fn forwarder(change: &str) -> String {
    format!("{APP}{}", changed(FORWARDER, change))
}

/// An application, and an auto reply with nothing in it but `parts`.
fn auto_reply(parts: &str) -> String {
    format!("{APP}[[handlers]]\nname = \"hello\"\nkind = \"auto_reply\"\n{parts}")
}

/// `text` with so many bytes in the place of each `{17 bytes}`.
fn spelt_out(text: &str) -> String {
    let mut pieces = text.split('{');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| match piece.split_once(" bytes}") {
        Some((count, rest)) => text + &"x".repeat(count.parse().expect("a number")) + rest,
        None => text + "{" + piece,
    })
}

fn load(text: &str) -> Loaded {
    Config::parse(text, &Environment::default()).expect("nothing is wrong with it")
}

/// What is told of `text`, which must be refused, line by line.
fn told(text: &str, environment: &Environment) -> Vec<String> {
    match Config::parse(text, environment) {
        Err(error @ ConfigError::Wrong(_)) => error.to_string().lines().map(str::to_owned).collect(),
        other => panic!("{text}\nshould be refused, but: {other:?}"),
    }
}

#[test]
fn every_mistake_is_told_with_its_key_and_its_mend() {
    let mut cases = 0;
    for section in include_str!("config/refused.txt").split("\n== ").skip(1) {
        let (title, blocks) = section.split_once('\n').unwrap();
        for block in blocks.split("\n\n").map(str::trim) {
            let (expected, change): (Vec<_>, Vec<_>) = block.lines().partition(|line| line.starts_with("> "));
            let change = change.join("\n");
            let text = match title {
                "in the file" => format!("{change}\n{APP}"),
                "in an app" => app(&change),
                "in a forwarder" => forwarder(&change),
                "in a publisher" => format!("{APP}{}", changed(PUBLISHER, &change)),
                "in an auto_reply" => auto_reply(&spelt_out(&change)),
                "in a gateway" => format!("{APP}{}", changed(GATEWAY, &change)),
                other => panic!("no such section: {other}"),
            };
            let told = told(&text, &Environment::default());
            let quoted: Vec<_> = told.iter().map(|line| format!("> {line}")).collect();
            assert_eq!(quoted, expected, "{change}");
            assert!(
                !quoted.concat().contains("hush") && !quoted.concat().contains("31337"),
                "{quoted:?}"
            );
            cases += 1;
        }
    }
    assert!(cases > 80, "{cases} cases are not the whole table");
}

#[test]
fn without_an_app_there_is_nothing_to_serve() {
    let told = told("", &Environment::default());
    assert_eq!(
        told,
        ["apps: missing: the server needs at least one [[apps]] entry to receive for"]
    );
}

#[test]
fn limits_are_within_what_they_allow() {
    let config = load(&format!(
        "{}\n{APP}",
        "server = { listen = \"127.0.0.1:0\", admin_listen = \"127.0.0.1:0\" }\n\
         store = { retention = \"96h\", body_retention = \"1s\" }\n\
         sync = { first_sync_window = \"0s\", page_limit = 1, backoff_min = \"30s\" }"
    ))
    .config;
    assert_eq!(
        config.server.listen, config.server.admin_listen,
        "port 0 is another port each time"
    );
    assert_eq!(config.store.retention, Duration::from_secs(96 * 3600));
    assert_eq!(config.store.body_retention, Some(Duration::from_secs(1)));
    assert_eq!(config.sync.first_sync_window, Duration::ZERO);
    assert_eq!(config.sync.backoff_min, config.sync.backoff_max);
}

#[test]
fn without_a_gateway_there_is_none_and_with_one_it_leads_to_all_apps_and_calls() {
    assert!(load(APP).config.gateway.is_none());
    let loaded = load(&format!("{APP}{GATEWAY}"));
    let gateway = loaded.config.gateway.expect("there is a section");
    assert_eq!(gateway.apps.len(), 1);
    assert!(gateway.calls.contains(&Call::SendMsg) && gateway.calls.contains(&Call::MediaGet));
    assert!(!gateway.calls.contains(&Call::GetToken));
    assert_eq!(loaded.warnings.len(), 1, "there is no handler: {:?}", loaded.warnings);

    let change = "calls = [\"kf/send_msg\", \"media/*\"]\nlisten = \"0.0.0.0:8081\"";
    let narrowed = load(&format!("{APP}{}", changed(GATEWAY, change)));
    let calls = narrowed.config.gateway.unwrap().calls;
    assert_eq!(calls, [Call::SendMsg, Call::MediaUpload, Call::MediaGet]);
    assert!(
        narrowed
            .warnings
            .iter()
            .any(|warning| warning.starts_with("gateway.listen: "))
    );
}

#[test]
fn what_is_no_toml_is_told_by_line_and_column_without_quoting_the_line() {
    let error = Config::parse("[[apps]]\nsecret = \"hush\n", &Environment::default()).unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with("line 2, column "), "{told}");
    assert!(
        !told.contains("hush") && !format!("{error:?}").contains("hush"),
        "{told}"
    );
}

#[test]
fn an_application_may_speak_plain_http_to_this_machine() {
    for base in [
        "http://127.0.0.1:8081",
        "http://[::1]:8081",
        "http://localhost:8081",
        "https://proxy.example/wecom",
    ] {
        let app = load(&app(&format!("api_base = {base:?}"))).config.apps.remove(0);
        assert!(app.api_base.as_str().starts_with(base));
    }
}

#[test]
fn a_callback_may_name_the_corporation_and_nobody_else_unless_the_operator_says_so() {
    let ids = |text: &str| -> Vec<String> {
        let ids = load(text).config.apps[0].receive_ids.clone();
        ids.iter().map(ToString::to_string).collect()
    };
    assert_eq!(ids(APP), ["ww1"]);
    assert_eq!(ids(&app("receive_ids = [\"\", \"ww2\"]")), ["", "ww2"]);
}

#[test]
fn two_of_one_name_are_refused() {
    assert_eq!(
        told(&format!("{APP}{APP}{FORWARDER}{FORWARDER}"), &Environment::default()),
        [
            "apps[1].name: \"main\" is the name of apps[0] already: give it its own",
            "handlers[1].name: \"bot\" is the name of handlers[0] already: give it its own",
        ]
    );
}

#[test]
fn mistakes_all_over_the_file_are_told_at_once() {
    let text = format!(
        "log.levl = 1\n{}{}",
        app("corp_id = 7\nsecret = \"\""),
        changed(FORWARDER, "url = \"x\"")
    );
    let told = told(&text, &Environment::default());
    let mut keys: Vec<_> = told.iter().filter_map(|line| line.split(": ").next()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["apps[0].corp_id", "apps[0].secret", "handlers[0].url", "log.levl"]
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(junk in r#"[ -~\n]{0,40}|\PC{0,10}|\[\[?[a-z.]{1,9}\]\]?|[a-z_]{1,9} = [0-9a-z"{}\[\]]{1,9}"#, at: Index) {
        let good = forwarder("");
        let (before, after) = good.split_at(at.index(good.len()));
        let _ = Config::parse(&format!("{before}{junk}{after}"), &Environment::default());
    }
}

#[test]
fn a_file_full_of_wrong_keys_is_refused_without_reading_all_of_it() {
    let text: String = (0..100_000).map(|n| format!("k{n} = 1\n")).collect();
    assert!(told(&text, &Environment::default()).len() < 100);
}

#[test]
fn a_secret_comes_from_a_variable_or_from_a_file_less_its_line_break() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let secret_of = |text: &str| {
        let environment = [("NAME", "s3cret")].into_iter().collect();
        let loaded = Config::parse(text, &environment).unwrap();
        loaded.config.apps[0].secret.expose_secret().to_owned()
    };
    assert_eq!(secret_of(&app("secret = \"s3cret\"")), "s3cret");
    assert_eq!(secret_of(&app("secret = { env = \"NAME\" }")), "s3cret");
    for written in ["s3cret", "s3cret\n", "s3cret\r\n"] {
        fs::write(&file, written).unwrap();
        assert_eq!(secret_of(&app_with_secret_in(&file)), "s3cret", "{written:?}");
    }
}

fn app_with_secret_in(path: &Path) -> String {
    app(&format!(
        "secret = {{ file = {:?} }}",
        path.to_str().expect("a path of ASCII")
    ))
}

#[test]
fn a_secret_file_that_holds_no_secret_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    for (written, problem) in [
        (&b""[..], "is empty"),
        (b"\n", "is empty"),
        (b"hush\n\n", "has a space or a line break"),
        (b"hush\nhush", "has a space or a line break"),
        (b"hush\0", "has a space or a line break"),
        (b"hush\xff", "cannot be read"),
    ] {
        fs::write(&file, written).unwrap();
        let told = told(&app_with_secret_in(&file), &Environment::default());
        assert!(told.len() == 1 && told[0].starts_with("apps[0].secret: "), "{told:?}");
        assert!(told[0].contains(problem) && !told[0].contains("hush"), "{told:?}");
    }
}

#[test]
fn secrets_that_every_user_may_read_get_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let (secret, config) = (dir.path().join("secret"), dir.path().join("config.toml"));
    fs::write(&secret, "hush").unwrap();
    fs::write(&config, app_with_secret_in(&secret) + FORWARDER).unwrap();
    let warnings = |secret_mode, config_mode| {
        fs::set_permissions(&secret, fs::Permissions::from_mode(secret_mode)).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(config_mode)).unwrap();
        Config::load(&config, &Environment::default()).unwrap().warnings
    };
    assert_eq!(warnings(0o600, 0o640), [""; 0]);
    let (secret, config) = (secret.display(), config.display());
    assert_eq!(
        warnings(0o644, 0o600),
        [format!(
            "apps[0].secret: every user of this machine may read {secret}: chmod 600 it"
        )]
    );
    let of_config = warnings(0o600, 0o644);
    assert!(
        of_config.len() == 1 && of_config[0].starts_with(&format!("{config} holds secrets")),
        "{of_config:?}"
    );
}

#[test]
fn a_secret_that_every_user_may_replace_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (secret, config) = (dir.path().join("secret"), dir.path().join("config.toml"));
    fs::write(&secret, "hush").unwrap();
    fs::write(&config, app_with_secret_in(&secret) + FORWARDER).unwrap();
    let load = |secret_mode, config_mode| {
        fs::set_permissions(&secret, fs::Permissions::from_mode(secret_mode)).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(config_mode)).unwrap();
        Config::load(&config, &Environment::default())
    };
    let refused = load(0o602, 0o600).unwrap_err().to_string();
    let path = secret.display();
    let expected = format!("apps[0].secret: every user of this machine may replace {path}: chmod 600 it");
    assert_eq!(refused, expected);
    let warnings = load(0o600, 0o666).unwrap().warnings;
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("every user of this machine may change"),
        "{warnings:?}"
    );
}

#[test]
fn a_file_that_is_not_there_is_an_error_with_its_path() {
    let error = Config::load(Path::new("/nowhere/config.toml"), &Environment::default()).unwrap_err();
    assert_eq!(error.to_string(), "config file /nowhere/config.toml cannot be read");
    assert!(matches!(error, ConfigError::Read { .. }));
}

#[test]
fn the_environment_overlays_the_file() {
    let environment = [
        ("WECOM_KF_SERVER_LISTEN", "127.0.0.1:1"),
        ("WECOM_KF_SYNC_PAGE_LIMIT", "50"),
        ("WECOM_KF_SYNC_POLL_INTERVAL", "1m"),
        ("WECOM_KF_STORE_URL", ""),
        ("WECOM_KF_LOG_LEVEL", "error"),
        ("RUST_LOG", "debug"),
        ("HOME", "/root"),
    ];
    let text = format!("server.listen = \"127.0.0.1:2\"\nsync = {{ page_limit = 9, calls_burst = 9 }}\n{APP}");
    let config = Config::parse(&text, &environment.into_iter().collect()).unwrap().config;
    assert_eq!(config.server.listen.port(), 1);
    assert_eq!((config.sync.page_limit, config.sync.calls_burst), (50, 9));
    assert_eq!(config.sync.poll_interval, Duration::from_secs(60));
    assert_eq!(
        config.store.url, "sqlite://data/wecom-kf.db",
        "an empty variable is none"
    );
    assert_eq!(config.log.filter.to_string(), "debug", "RUST_LOG wins");
}

#[test]
fn a_bad_variable_is_told_by_its_name() {
    for (variable, value, problem) in [
        (
            "WECOM_KF_SYNC_PAGE_LIMIT",
            "0",
            "sync.page_limit: must be 1 to 1000, but is 0 (set by WECOM_KF_SYNC_PAGE_LIMIT)",
        ),
        (
            "WECOM_KF_SYNC_PAGE_LIMIT",
            "x",
            "sync.page_limit: must be a whole number, but is of type string (set by WECOM_KF_SYNC_PAGE_LIMIT)",
        ),
        (
            "RUST_LOG",
            "inof",
            "log.level: \"inof\" is no log filter: write trace, debug, info, warn, error or off, or levels by module, \
             \"wecom_kf=debug,info\" (set by RUST_LOG)",
        ),
        (
            "WECOM_KF_SYNC_POLL_INTERVALL",
            "5m",
            "WECOM_KF_SYNC_POLL_INTERVALL: no setting has this variable, did you mean `WECOM_KF_SYNC_POLL_INTERVAL`?",
        ),
    ] {
        assert_eq!(told(APP, &[(variable, value)].into_iter().collect()), [problem]);
    }
}

#[test]
fn a_variable_that_holds_a_secret_may_have_any_name() {
    let environment = [("WECOM_KF_SECRET", "hush")].into_iter().collect();
    Config::parse(&app("secret = { env = \"WECOM_KF_SECRET\" }"), &environment).unwrap();
}

#[test]
fn what_is_odd_but_legal_gets_a_warning() {
    assert_eq!(
        load(APP).warnings,
        ["handlers: none: messages are stored, and nobody is handed them"]
    );
    assert_eq!(
        load(&forwarder("types = [\"txet\"]")).warnings,
        ["handlers[0].types[0]: \"txet\" is no type this version knows, did you mean `text`?"]
    );
    let open = load(&format!("server.admin_listen = \"0.0.0.0:9090\"\n{}", forwarder(""))).warnings;
    assert!(
        open.len() == 1 && open[0].starts_with("server.admin_listen: reachable"),
        "{open:?}"
    );
    let quiet = forwarder("types = [\"text\", \"event\", \"event.enter_session\"]\napps = [\"main\"]");
    assert_eq!(load(&quiet).warnings, [""; 0]);
}

#[test]
fn loose_ends_of_an_auto_reply_get_a_warning() {
    let parts = r#"
        [handlers.welcome]
        reply = "hi"
        menu = [{ id = "price", text = "Prices" }, { id = "hours", text = "Hours" }]
        [[handlers.rules]]
        keywords = ["PRICE"]
        menu_id = "prices"
        reply = "25"
        [[handlers.rules]]
        keywords = ["when", "price list"]
        menu_id = "hours"
        reply = "nine"
        [handlers.hand_over]
        reply = "One moment."
    "#;
    assert_eq!(
        load(&auto_reply(parts)).warnings,
        [
            "handlers[0].hand_over: no rule has hand_over = true, so nobody is handed over",
            "handlers[0].welcome.menu[0].id: no rule has the menu_id \"price\", did you mean `prices`?",
            "handlers[0].rules[0].menu_id: no menu here has an entry \"prices\", did you mean `price`?",
            "handlers[0].rules[1].keywords[1]: \"price list\" is of no use: rules[0] comes first and answers it",
        ]
    );
}

#[test]
fn an_auto_reply_as_large_as_wecom_takes_is_taken() {
    let parts = spelt_out(
        r#"
        [handlers.welcome]
        reply = "{1024 bytes}"
        menu = [{ id = "{128 bytes}", text = "{128 bytes}" }]
        [[handlers.rules]]
        keywords = ["a"]
        menu_id = "{128 bytes}"
        reply = "{2048 bytes}"
        [handlers.hours]
        open = ["Mon-Sun 00:00-24:00"]
        closed_reply = "{2048 bytes}"
        [handlers.fallback]
        reply = "{2048 bytes}"
    "#,
    );
    assert_eq!(load(&auto_reply(&parts)).warnings, [""; 0]);
}

#[test]
fn traces_are_sent_only_by_a_build_that_can() {
    let text = format!("log.otlp_endpoint = \"http://127.0.0.1:4318/x?key=hush\"\n{APP}");
    if cfg!(feature = "otel") {
        let shown = load(&text).config.to_string();
        assert!(
            shown.contains("otlp_endpoint = \"http://127.0.0.1:4318/x\"\n"),
            "{shown}"
        );
    } else {
        let expected =
            "log.otlp_endpoint: this build sends no traces: build it with `--features otel`, or leave this out";
        assert_eq!(told(&text, &Environment::default()), [expected]);
    }
}

#[test]
fn filters_are_read_as_written_and_leave_out_colleagues_by_default() {
    let filter = |keys: &str| load(&forwarder(keys)).config.handlers[0].filter.clone();
    let default = filter("");
    assert_eq!(default.origins, Some(vec![Origin::Customer, Origin::Event]));
    assert_eq!((default.apps, default.accounts, default.types), (None, None, None));
    assert_eq!(filter("origins = [\"servicer\"]").origins, Some(vec![Origin::Servicer]));
    assert_eq!(filter("origins = [\"event\", \"all\"]").origins, None);
    let types = filter("types = [\"text\", \"event.enter_session\"]").types.unwrap();
    assert_eq!(types, ["text".into(), "event.enter_session".into()]);
}

#[test]
fn the_query_of_a_forward_address_reaches_the_handler_and_no_output() {
    let config = load(&forwarder("url = \"http://127.0.0.1:9000/kf?key=hush\"")).config;
    let HandlerKind::Forward(forward) = &config.handlers[0].kind else {
        panic!("not a forwarder: {config:?}");
    };
    assert_eq!(forward.url.query(), Some("key=hush"));
    assert!(!config.to_string().contains("hush") && !format!("{config:?}").contains("hush"));
}

#[test]
fn several_signing_secrets_are_read_in_their_order() {
    let secrets = [
        "whsec_hushhushhushhushhushhushhushhushhushhushhush",
        "whsec_HUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSH",
    ];
    let config = load(&forwarder(&format!("signing_secret = {secrets:?}"))).config;
    let HandlerKind::Forward(forward) = &config.handlers[0].kind else {
        panic!("it forwards");
    };
    let read: Vec<_> = forward
        .signing_secrets
        .iter()
        .map(|secret| secret.expose_secret())
        .collect();
    assert_eq!(read, secrets);
    assert!(
        config.to_string().contains(r#"signing_secret = ["***", "***"]"#),
        "{config}"
    );
}

#[test]
fn an_address_on_the_internet_may_be_demanded() {
    for url in [
        "https://bot.example/kf",
        "https://bot.example:8443/kf",
        "https://93.184.215.14/",
        "https://[2606:4700::1111]/",
    ] {
        let text = forwarder(&format!("url = \"{url}\"\npublic_only = true"));
        assert_eq!(load(&text).warnings, [""; 0], "{url}");
    }
}

#[test]
fn every_address_that_is_not_on_the_internet_is_refused_by_its_key_where_one_is_demanded() {
    let corpus = include_str!("fixtures/not_public.txt");
    let (_, urls) = corpus.split_once("== as written\n").unwrap();
    let (urls, _) = urls.split_once("== as resolved\n").unwrap();
    // Each paragraph begins with what its lines have in common.
    let urls = urls
        .trim_matches('\n')
        .split("\n\n")
        .flat_map(|paragraph| paragraph.lines().skip(1));
    for url in urls {
        let text = forwarder(&format!("url = {}\npublic_only = true", toml::Value::from(url)));
        let told = told(&text, &Environment::default());
        assert!(
            told.len() == 1 && told[0].starts_with("handlers[0].url: "),
            "{url}: {told:?}"
        );
    }
}
