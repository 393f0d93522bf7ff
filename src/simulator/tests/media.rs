//! Files, up and down.

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

impl Client {
    /// Uploads `content` as a form of one part with this disposition.
    async fn upload_as(&self, kind: &str, disposition: &str, content: &[u8]) -> Value {
        let head = format!("--xx\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        let form = [head.as_bytes(), content, b"\r\n--xx--\r\n"].concat();
        self.upload_form(kind, "multipart/form-data; boundary=xx", form).await
    }

    async fn upload_form(&self, kind: &str, content_type: &str, form: Vec<u8>) -> Value {
        let url = format!(
            "{}/cgi-bin/media/upload?access_token={}&type={kind}",
            self.base_url, self.access_token
        );
        let request = self.http.post(url).header("content-type", content_type).body(form);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "refusals too have status 200");
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    async fn upload(&self, kind: &str, content: &[u8]) -> Value {
        self.upload_as(kind, r#"name="media"; filename="图.png"; filelength=6"#, content)
            .await
    }

    async fn download(&self, media_id: &str, range: Option<&str>) -> reqwest::Response {
        let url = format!(
            "{}/cgi-bin/media/get?access_token={}&media_id={media_id}",
            self.base_url, self.access_token
        );
        let mut request = self.http.get(url);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        request.send().await.unwrap()
    }

    /// The errcode of a download that must be refused.
    async fn download_refused(&self, media_id: &str, range: Option<&str>) -> Value {
        let response = self.download(media_id, range).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json; charset=UTF-8");
        assert!(!response.headers().contains_key("content-disposition"));
        let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        answer["errcode"].clone()
    }
}

async fn start(clock: &ManualClock) -> (Simulator, Client) {
    let simulator = Simulator::start(settings(clock)).await.unwrap();
    let client = Client::new(&simulator).await;
    (simulator, client)
}

#[tokio::test]
async fn what_was_uploaded_is_downloaded_under_its_name() {
    let (_simulator, client) = start(&ManualClock::default()).await;
    let answer = client.upload("image", PNG).await;
    assert_eq!(
        (&answer["type"], &answer["created_at"]),
        (&json!("image"), &json!("1785571200"))
    );
    let response = client.download(answer["media_id"].as_str().unwrap(), None).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "image/png");
    let disposition = response.headers()["content-disposition"].as_bytes();
    assert_eq!(disposition, "attachment; filename=\"图.png\"".as_bytes());
    assert_eq!(response.bytes().await.unwrap(), PNG);
}

#[tokio::test]
async fn an_upload_must_be_a_form_with_a_named_file() {
    let (_simulator, client) = start(&ManualClock::default()).await;
    for (disposition, errcode) in [
        (r#"name="media"; filename="a.png""#, 0),
        (r#"name="media"; filename="""#, 44001),
        (r#"name="media""#, 44001),
        (r#"name="media"; filename*=utf-8''a.png"#, 44001),
        (r#"name="file"; filename="a.png""#, 44001),
    ] {
        assert_eq!(
            client.upload_as("image", disposition, PNG).await["errcode"],
            errcode,
            "{disposition}"
        );
    }
    assert_eq!(client.upload("image", b"").await["errcode"], 44001);
    for content_type in ["multipart/form-data", "application/json"] {
        let answer = client.upload_form("image", content_type, b"{}".to_vec()).await;
        assert_eq!(answer["errcode"], 44001, "{content_type}");
    }
}

#[tokio::test]
async fn a_file_has_the_size_and_the_format_of_its_kind() {
    let (_simulator, client) = start(&ManualClock::default()).await;
    let of_size = |head: &[u8], size: usize| {
        let mut content = head.to_vec();
        content.resize(size, 0);
        content
    };
    let (jpg, mp4): (&[u8], &[u8]) = (b"\xff\xd8\xff\xe0", b"\0\0\0\x18ftypmp42");
    let amr = |frames: usize| [b"#!AMR\n".as_slice(), &[0x3c; 32].repeat(frames)].concat();
    const MIB: usize = 1 << 20;
    for (kind, content, errcode) in [
        ("sound", of_size(jpg, 100), 40005),
        ("", of_size(jpg, 100), 40005),
        ("file", b"12345".to_vec(), 40006),
        ("file", b"123456".to_vec(), 0),
        ("file", of_size(b"", 20 * MIB), 0),
        ("file", of_size(b"", 20 * MIB + 1), 40006),
        ("image", of_size(jpg, 10 * MIB), 0),
        ("image", of_size(jpg, 10 * MIB + 1), 40009),
        ("image", b"GIF89a..".to_vec(), 40004),
        ("video", of_size(mp4, 10 * MIB), 0),
        ("video", of_size(mp4, 10 * MIB + 1), 40011),
        ("video", of_size(jpg, 100), 40004),
        ("voice", amr(3_000), 0),
        ("voice", amr(3_001), 45007),
        ("voice", of_size(b"#!AMR\n", 2 * MIB + 1), 40006),
        ("voice", of_size(b"ID3mp3", 100), 40004),
    ] {
        let answer = client.upload(kind, &content).await;
        assert_eq!(answer["errcode"], errcode, "{kind} of {} bytes", content.len());
    }
}

#[tokio::test]
async fn a_refused_download_is_json_with_status_200() {
    let clock = ManualClock::default();
    let (simulator, mut client) = start(&clock).await;
    let media_id = simulator.keep_media(MediaKind::File, "a.txt", "content");
    assert_eq!(client.download_refused("", None).await, 41006);
    assert_eq!(client.download_refused("made-up", None).await, 40007);
    clock.advance(72 * HOUR - Duration::from_millis(1));
    client.renew().await.unwrap();
    assert_eq!(
        client.download(media_id.as_str(), None).await.bytes().await.unwrap(),
        "content"
    );
    clock.advance(Duration::from_millis(1));
    assert_eq!(client.download_refused(media_id.as_str(), None).await, 40145);
    client.access_token = "made-up".to_owned();
    assert_eq!(client.download_refused(media_id.as_str(), None).await, 40014);
    assert_eq!(client.upload("image", PNG).await["errcode"], 40014);
}

#[tokio::test]
async fn a_large_file_is_downloaded_in_parts() {
    let (simulator, client) = start(&ManualClock::default()).await;
    let content: Vec<u8> = (0..(20 << 20) + 10).map(|n: u32| (n % 251) as u8).collect();
    let media_id = simulator.keep_media(MediaKind::File, "large.bin", content.clone());
    assert_eq!(client.download_refused(media_id.as_str(), None).await, 830_002);
    assert_eq!(
        client.download_refused(media_id.as_str(), Some("bytes=0-")).await,
        830_002
    );
    assert_eq!(
        client.download_refused(media_id.as_str(), Some("bytes=0-16")).await,
        40146
    );
    assert_eq!(
        client
            .download_refused(media_id.as_str(), Some("bytes=99999999-"))
            .await,
        40146
    );
    let mut whole = Vec::new();
    for (range, place) in [
        ("bytes=0-20971519", "bytes 0-20971519/20971530"),
        ("bytes=20971520-41943039", "bytes 20971520-20971529/20971530"),
    ] {
        let response = client.download(media_id.as_str(), Some(range)).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-range"]),
            (206, &place.parse().unwrap())
        );
        whole.extend_from_slice(&response.bytes().await.unwrap());
    }
    assert!(whole == content);
}

#[tokio::test]
async fn what_customers_send_can_be_downloaded() {
    let (simulator, client) = start(&ManualClock::default()).await;
    let customer = ExternalUserid::from("wm1");
    simulator
        .customer(&wk1(), &customer)
        .sends(MediaKind::Voice, "v.amr", b"#!AMR\nhello".to_vec())
        .unwrap();
    let mut rng = SmallRng::seed_from_u64(1);
    for sample in [
        samples::Sample::Image,
        samples::Sample::Voice,
        samples::Sample::Video,
        samples::Sample::File,
    ] {
        let draft = sample.draft(&customer, &mut rng);
        simulator.say(&wk1(), draft).unwrap();
    }
    let page = client.sync(json!({ "open_kfid": "wk1" })).await;
    let items = page["msg_list"].as_array().unwrap();
    let types = [
        "audio/amr",
        "image/png",
        "audio/amr",
        "video/mp4",
        "application/octet-stream",
    ];
    assert_eq!(items.len(), types.len());
    for (item, content_type) in items.iter().zip(types) {
        let body = &item[item["msgtype"].as_str().unwrap()];
        let response = client.download(body["media_id"].as_str().unwrap(), None).await;
        assert_eq!(response.headers()["content-type"], content_type, "{item}");
        assert!(response.headers().contains_key("content-disposition"));
        assert!(!response.bytes().await.unwrap().is_empty());
    }
    let own = client
        .download(items[0]["voice"]["media_id"].as_str().unwrap(), None)
        .await;
    assert_eq!(own.bytes().await.unwrap(), "#!AMR\nhello");
}

#[tokio::test]
async fn faults_happen_to_files_too() {
    let (simulator, client) = start(&ManualClock::default()).await;
    let media_id = simulator.keep_media(MediaKind::File, "a.txt", "content");
    simulator.set_faults(Faults::only(Fault::Busy, Dial::Next(2)));
    assert_eq!(client.download_refused(media_id.as_str(), None).await, -1);
    assert_eq!(client.upload("image", PNG).await["errcode"], -1);
    simulator.set_faults(Faults::only(Fault::ResetInBody, Dial::Next(1)));
    assert!(client.download(media_id.as_str(), None).await.bytes().await.is_err());
    simulator.set_faults(Faults::only(Fault::TruncatedJson, Dial::Next(1)));
    assert_eq!(
        client.download(media_id.as_str(), None).await.bytes().await.unwrap(),
        "con"
    );
}
