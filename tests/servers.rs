//! Real servers for tests of the whole program: started by their scripts, and told what no test of ours is about.

use std::collections::HashMap;
use std::process::Stdio;

/// The script of a server.
pub(crate) fn script(name: &str) -> std::process::Command {
    let mut command = std::process::Command::new(format!("{}/tests/services/{name}.sh", env!("CARGO_MANIFEST_DIR")));
    command.stderr(Stdio::inherit());
    command
}

/// Starts a server, or finds it running, and gives what its script printed; `None`, and a line that says so, where it
/// cannot be had.
#[expect(clippy::print_stdout, reason = "who runs the tests is to see what they leave out")]
pub(crate) fn service(name: &str) -> Option<HashMap<String, String>> {
    let started = script(name).arg("start").output().unwrap();
    if !started.status.success() {
        assert!(std::env::var_os("EVENTYARD_SERVICES_REQUIRED").is_none(), "{name} does not start");
        println!("SKIPPED: {name} does not start here");
        return None;
    }
    let said = String::from_utf8(started.stdout).unwrap();
    Some(said.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect())
}

/// Makes topics of three partitions.
pub(crate) async fn create_topics(brokers: &str, topics: &[&str]) {
    use rdkafka::ClientConfig;
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    use rdkafka::client::DefaultClientContext;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let new: Vec<NewTopic<'_>> =
        topics.iter().map(|topic| NewTopic::new(topic, 3, TopicReplication::Fixed(1))).collect();
    for made in admin.create_topics(&new, &AdminOptions::new()).await.unwrap() {
        made.unwrap();
    }
}

/// Makes a stream of these subjects, by NATS's own words: the client would have to be compiled for every test of this
/// program.
#[cfg(all(feature = "amqp", feature = "kafka", feature = "nats"))]
pub(crate) async fn create_stream(address: &str, name: &str, subjects: &str) {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let config = serde_json::json!({ "name": name, "subjects": [subjects], "storage": "file" }).to_string();
    let asked = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB $JS.API.STREAM.CREATE.{name} answer {}\r\n{config}\r\n",
        config.len()
    );
    let mut server = BufReader::new(tokio::net::TcpStream::connect(address).await.unwrap());
    server.write_all(asked.as_bytes()).await.unwrap();
    let answer = async {
        let mut line = String::new();
        while !line.contains("stream_create_response") {
            line.clear();
            assert!(server.read_line(&mut line).await.unwrap() > 0, "the server closed the connection");
        }
        line
    };
    let answer = tokio::time::timeout(std::time::Duration::from_secs(60), answer).await.unwrap();
    assert!(!answer.contains("\"error\""), "{answer}");
}
