//! Credentials that stand nowhere: the container's address is asked for those of its role, and asked again before they
//! end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{DEADLINE, get, start};
use crate::support::{free_port, project, run_with};

const PROJECT: &str = r#"
[server]
listen = "127.0.0.1:PORT"

[sink.archive]
kind = "s3"
endpoint = "ENDPOINT"
bucket = "archive"
prefix = ""
write = "object"
key = "{id}"
credentials = "role"
"#;

const RULES: &str = r#"
[[rule]]
name = "archive"
pattern = { type = ["t"] }
target = { sink = "archive", retry = { attempts = 100, backoff = "100ms", backoff_max = "200ms" } }
"#;

/// A container's address, and a store that takes what is signed by the role. Real stores know the tokens of their own
/// roles only.
struct Around {
    address: String,
    asked: AtomicU32,
    stored: Mutex<BTreeSet<String>>,
}

impl Around {
    async fn start() -> Arc<Around> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let around = Arc::new(Around { address, asked: AtomicU32::new(0), stored: Mutex::default() });
        let answering = Arc::clone(&around);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&answering)));
            }
        });
        around
    }

    async fn wait_for(&self, key: &str) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !self.stored.lock().unwrap().contains(key) {
            assert!(tokio::time::Instant::now() < deadline, "{key} never came");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Credentials that end soon.
    fn credentials(&self) -> String {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let ends = eventyard::clock::Clocks::machine().now().to_jiff() + Duration::from_secs(3);
        let ends = ends.strftime("%Y-%m-%dT%H:%M:%SZ");
        format!(
            "{{\"AccessKeyId\":\"ROLE{number}\",\"SecretAccessKey\":\"s\",\"Token\":\"token{number}\",\"Expiration\":\"{ends}\"}}"
        )
    }
}

async fn answer(mut stream: TcpStream, around: Arc<Around>) {
    let (mut head, mut some) = (String::new(), [0; 4096]);
    while !head.contains("\r\n\r\n") {
        let Ok(count @ 1..) = stream.read(&mut some).await else { return };
        head.push_str(&String::from_utf8_lossy(&some[..count]));
    }
    let body = if head.starts_with("GET /credentials ") {
        around.credentials()
    } else {
        let key = head.strip_prefix("PUT /archive/").and_then(|rest| rest.split(['?', ' ']).next()).unwrap().to_owned();
        let number = around.asked.load(Ordering::Relaxed);
        assert!(head.contains(&format!("Credential=ROLE{number}/")), "{head}");
        assert!(head.contains(&format!("x-amz-security-token: token{number}\r\n")), "{head}");
        around.stored.lock().unwrap().insert(key);
        String::new()
    };
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roles_credentials_are_fetched_and_fetched_anew() {
    let around = Around::start().await;
    let main = PROJECT.replace("PORT", &free_port().to_string()).replace("ENDPOINT", &around.address);
    let folder = project(&[("eventyard.toml", &main), ("rules/archive.toml", RULES)]);
    let home = tempfile::tempdir().unwrap();
    let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/credentials", around.address));
    let elsewhere = [
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", String::new()),
        ("AWS_SECRET_ACCESS_KEY", String::new()),
        ("HOME", home.path().to_str().unwrap().to_owned()),
    ];
    let send = |id: &str| {
        let event = format!("{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/s\",\"type\":\"t\",\"data\":1}}");
        let sent = run_with(&["events", "send", "-"], folder.path(), &event);
        assert_eq!(sent.code, 0, "{}{}", sent.stdout, sent.stderr);
    };
    // Nobody says who we are: the delivery waits, and the target says why.
    let broker = start(folder.path(), &elsewhere);
    send("first");
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let list = get(&broker, "/api/v1/targets").await;
        let target = &list["items"][0];
        if target["last_error"].to_string().contains("auth") {
            assert_eq!(target["pending"], 1, "{target:#}");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{list:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(broker);
    let everywhere: Vec<(&str, String)> = elsewhere.iter().cloned().chain([container]).collect();
    let _broker = start(folder.path(), &everywhere);
    around.wait_for("first").await;
    let before = around.asked.load(Ordering::Relaxed);
    assert!(before >= 1);
    tokio::time::sleep(Duration::from_secs(4)).await;
    send("second");
    around.wait_for("second").await;
    assert!(around.asked.load(Ordering::Relaxed) > before, "they had ended");
}
