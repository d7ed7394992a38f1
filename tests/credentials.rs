//! Wrong credentials, against real servers: people are told who must see to them, the source tries again ever more
//! seldom, the others go on, and the secret is nowhere to be read.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::refused::{assert_backs_off, assert_clock_goes_on, assert_stays_secret, until_announced};
use crate::servers::service;
use crate::support::{Broker, eventyard, free_port, project, run};

/// In place of each right one.
const WRONG: &str = "canary-d41d8cd98f";

const PROJECT: &str = r#"
[server]
listen = "127.0.0.1:PORT"

[source.orders-kafka]
kind = "kafka"
brokers = "KAFKA"
topics = "orders"
group = "orders"
sasl = { username = "eventyard", password = { env = "WRONG" } }

[source.orders-amqp]
kind = "amqp"
url = "amqp://AMQP/%2f"
username = "guest"
password = { env = "WRONG" }
queue = "orders"

[source.orders-nats]
kind = "nats"
servers = "NATS"
subject = "orders"
user = "eve"
password = { env = "WRONG" }

[source.orders-s3]
kind = "s3"
endpoint = "S3"
bucket = "orders"
access_key_id = "eventyard"
secret_access_key = { env = "WRONG" }
poll_every = "1s"

[source.clock]
kind = "timer"
schedule = "@every 1s"

[sink.nowhere]
kind = "discard"

[channel.people]
kind = "webhook"
url = "http://127.0.0.1:9/"
alerts = ["source_down"]
"#;

const RULES: &str = r#"
[[rule]]
name = "ticks"
from = ["clock"]
target = { sink = "nowhere" }
"#;

/// A nats-server with a user.
struct Nats(Child, #[expect(dead_code, reason = "goes with the server")] tempfile::TempDir);

impl Nats {
    fn start(port: u16) -> Nats {
        let home = std::env::var_os("EVENTYARD_SERVICES").map(std::path::PathBuf::from).unwrap_or_else(|| {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
            let cache = cache.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cache"));
            cache.join("eventyard-services")
        });
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("server.conf");
        let users = "authorization { users: [ { user: eve, password: right } ] }";
        std::fs::write(&conf, format!("listen: 127.0.0.1:{port}\n{users}\n")).unwrap();
        let mut command = Command::new(home.join("bin/nats-server"));
        let child = command.arg("-c").arg(conf).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Nats(child, folder)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_alert_back_off_and_stay_secret_and_the_others_go_on() {
    let (Some(kafka), Some(amqp), Some(_)) = (service("kafka"), service("rabbitmq"), service("nats")) else { return };
    let Some(s3) = service("versitygw") else { return };
    eventyard_connectors::http::install_crypto();
    let port = free_port();
    let _nats = Nats::start(port);
    let main = PROJECT
        .replace("PORT", &free_port().to_string())
        .replace("\"KAFKA\"", &format!("\"{}\"", kafka["KAFKA_SASL_BROKERS"]))
        .replace("amqp://AMQP/%2f", &format!("amqp://{}", amqp["AMQP_URL"].split_once('@').unwrap().1))
        .replace("\"NATS\"", &format!("\"127.0.0.1:{port}\""))
        .replace("\"S3\"", &format!("\"{}\"", s3["S3_ENDPOINT"]));
    let folder = project(&[("eventyard.toml", &main), ("rules/ticks.toml", RULES)]);
    let log = folder.path().join("log");
    let mut command = eventyard(&["run"], folder.path());
    command.env("WRONG", WRONG).env("EVENTYARD_LOG", "debug").stderr(std::fs::File::create(&log).unwrap());
    let broker = Broker::spawn(&mut command);
    let kinds = ["orders-amqp", "orders-kafka", "orders-nats", "orders-s3"];
    let alerts = until_announced(&broker, &kinds).await;
    for name in kinds {
        assert_backs_off(&broker, name, "auth").await;
    }
    let listed = run(&["sources", "list"], folder.path());
    assert_clock_goes_on(&broker).await;
    for name in kinds {
        let line = listed.stdout.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        assert!(line.contains("backing_off") || line.contains("starting"), "{}", listed.stdout);
    }
    assert_stays_secret(broker, folder.path(), &alerts, WRONG).await;
}
