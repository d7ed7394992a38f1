//! Servers whose certificate is trusted and for another name: no connector speaks to one. People are told what is wrong
//! with it, the sources back off, deliveries wait, everything else goes on, and no secret was ever sent or is to be read.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventyard::server::tls::acceptor;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::certificate::make_certificate;
use crate::refused::{assert_backs_off, assert_clock_goes_on, assert_stays_secret, get, until_announced};
use crate::support::{Broker, eventyard, free_port, project};

const SECRET: &str = "canary-9f86d08188";
/// What the certificate is for; the servers are reached by their address.
const NAME: &str = "elsewhere.example";
const DEADLINE: Duration = Duration::from_secs(60);

const PROJECT: &str = r#"
[server]
listen = "127.0.0.1:PORT"

[source.orders-amqp]
kind = "amqp"
url = "amqps://TLS/%2f"
username = "guest"
password = { env = "SECRET" }
queue = "orders"

[source.orders-nats]
kind = "nats"
servers = "NATS"
subject = "orders"
user = "eve"
password = { env = "SECRET" }
ca = { file = "cert.pem" }

[source.orders-s3]
kind = "s3"
endpoint = "https://TLS"
bucket = "orders"
access_key_id = "eventyard"
secret_access_key = { env = "SECRET" }
poll_every = "1s"

[source.clock]
kind = "timer"
schedule = "@every 1s"
# What the targets that fail have not settled holds it up otherwise.
overlap = "allow"

[sink.nowhere]
kind = "discard"

[sink.web]
kind = "http"
url = "https://TLS/orders"
auth = { kind = "bearer", token = { env = "SECRET" } }

[sink.queue]
kind = "amqp"
url = "amqps://TLS/%2f"
username = "guest"
password = { env = "SECRET" }
routing_key = "orders"

[sink.archive]
kind = "s3"
endpoint = "https://TLS"
bucket = "orders"
access_key_id = "eventyard"
secret_access_key = { env = "SECRET" }

[channel.people]
kind = "webhook"
url = "http://127.0.0.1:9/"
alerts = ["source_down"]
"#;

/// Only a program that was built with it knows TLS for Kafka.
#[cfg(feature = "kafka-tls")]
const KAFKA: &str = r#"
[source.orders-kafka]
kind = "kafka"
brokers = "TLS"
topics = "orders"
group = "orders"
tls = { ca = "cert.pem" }
sasl = { username = "eventyard", password = { env = "SECRET" } }

[sink.topic]
kind = "kafka"
brokers = "TLS"
topic = "orders"
tls = { ca = "cert.pem" }
sasl = { username = "eventyard", password = { env = "SECRET" } }
"#;
#[cfg(not(feature = "kafka-tls"))]
const KAFKA: &str = "";

#[cfg(feature = "kafka-tls")]
const SOURCES: &[&str] = &["orders-amqp", "orders-kafka", "orders-nats", "orders-s3"];
#[cfg(not(feature = "kafka-tls"))]
const SOURCES: &[&str] = &["orders-amqp", "orders-nats", "orders-s3"];

#[cfg(feature = "kafka-tls")]
const SINKS: &[&str] = &["web", "queue", "archive", "topic"];
#[cfg(not(feature = "kafka-tls"))]
const SINKS: &[&str] = &["web", "queue", "archive"];

/// A server that speaks TLS, behind `greeting` in the clear. It counts who goes on after the handshake: nobody should.
async fn serve(folder: &Path, greeting: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let tls = acceptor(&folder.join("cert.pem"), &folder.join("key.pem")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let went_on = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&went_on);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (tls, count) = (tls.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                stream.write_all(greeting.as_bytes()).await.unwrap();
                // In TLS 1.3 the server's side is done before it hears what the other one thinks of the certificate.
                if let Ok(mut stream) = tls.accept(stream).await
                    && let Ok(1..) = stream.read(&mut [0; 64]).await
                {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    (address, went_on)
}

/// What is said of a certificate for another name.
fn names_the_mismatch(error: &str) -> bool {
    // Of what OpenSSL finds, librdkafka passes on that the certificate will not do.
    (error.contains("not valid for name") && error.contains(NAME)) || error.contains("for another name")
}

async fn until_targets_say_why(broker: &Broker) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let list = get(broker, "/api/v1/targets").await;
        let said = |name: &&str| {
            let target = list["items"].as_array().unwrap().iter().find(|target| target["target"] == **name);
            let error = target.and_then(|target| target["last_error"].as_str()).unwrap_or_default();
            error.contains("tls") && names_the_mismatch(error)
        };
        if SINKS.iter().all(said) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{list:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_alerts_and_backs_off_and_the_others_go_on() {
    let targets: String = SINKS.iter().map(|sink| format!("[[rule.target]]\nsink = \"{sink}\"\n")).collect();
    let rules =
        format!("[[rule]]\nname = \"ticks\"\nfrom = [\"clock\"]\n{targets}\n[[rule.target]]\nsink = \"nowhere\"\n");
    let folder = project(&[("rules/ticks.toml", &rules)]);
    if !make_certificate(folder.path(), &format!("DNS:{NAME}")) {
        return;
    }
    eventyard_connectors::http::install_crypto();
    let (tls, went_on) = serve(folder.path(), "").await;
    let info = "INFO {\"server_id\":\"a\",\"version\":\"2.10.0\",\"max_payload\":1048576,\"tls_required\":true}\r\n";
    let (nats, went_on_nats) = serve(folder.path(), info).await;
    let main = format!("{PROJECT}{KAFKA}")
        .replace("PORT", &free_port().to_string())
        .replace("\"NATS\"", &format!("\"{nats}\""))
        .replace("TLS", &tls.to_string());
    std::fs::write(folder.path().join("eventyard.toml"), main).unwrap();
    let log = folder.path().join("log");
    let mut command = eventyard(&["run"], folder.path());
    // The machine trusts this one certificate.
    command.env("SSL_CERT_FILE", folder.path().join("cert.pem")).env_remove("SSL_CERT_DIR");
    command.env("SECRET", SECRET).env("EVENTYARD_LOG", "debug").stderr(std::fs::File::create(&log).unwrap());
    let broker = Broker::spawn(&mut command);
    let alerts = until_announced(&broker, SOURCES).await;
    for name in SOURCES {
        let error = assert_backs_off(&broker, name, "tls").await;
        assert!(names_the_mismatch(&error), "{error}");
    }
    until_targets_say_why(&broker).await;
    assert_clock_goes_on(&broker).await;
    let delivered: Value = get(&broker, "/api/v1/deliveries?state=delivered&limit=1").await;
    assert_eq!(delivered["items"][0]["target"], "nowhere", "{delivered:#}");
    assert_eq!(get(&broker, "/api/v1/dead-letters").await["items"], serde_json::json!([]));
    assert_eq!((went_on.load(Ordering::SeqCst), went_on_nats.load(Ordering::SeqCst)), (0, 0), "nothing was said to it");
    assert_stays_secret(broker, folder.path(), &alerts, SECRET).await;
}
