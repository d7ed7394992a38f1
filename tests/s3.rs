//! Object stores with the whole program: objects in by all ways, bytes for a function, and objects out.

mod circles;
mod fetched;
#[cfg(all(feature = "amqp", feature = "kafka", feature = "nats"))]
mod queues;
mod role;
mod store;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use self::store::{Kind, Store, bucket_name, store_with, stores};
use crate::support::{Broker, copy_project, free_port, project, run};

/// Nothing that is waited for takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

async fn get(broker: &Broker, path: &str) -> Value {
    reqwest::get(format!("{}{path}", broker.url())).await.unwrap().json().await.unwrap()
}

/// All events of a type, waiting until there are so many.
async fn events(broker: &Broker, ty: &str, count: usize) -> Vec<Value> {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let list = get(broker, &format!("/api/v1/events?type={ty}&limit=1000")).await;
        let items = list["items"].as_array().unwrap().clone();
        if items.len() >= count {
            return items;
        }
        assert!(tokio::time::Instant::now() < deadline, "{ty}: {} of {count}: {list:#}", items.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The source has looked at what lay there, so that what comes now is new.
async fn watching(broker: &Broker, source: &str) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let shown = get(broker, "/api/v1/sources").await;
        let source = shown["items"].as_array().unwrap().iter().find(|one| one["name"] == source).unwrap().clone();
        if source["state"] == "running" {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{source:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn variables(store: &Store) -> Vec<(&'static str, String)> {
    vec![("S3_ENDPOINT", store.endpoint.clone()), ("BUCKET", store.bucket.clone())]
}

fn start(folder: &Path, variables: &[(&str, String)]) -> Broker {
    eventyard_connectors::http::install_crypto();
    Broker::start_with("run", folder, variables)
}

#[tokio::test]
async fn the_example_transcodes_an_object_and_does_not_go_round() {
    for store in stores().await {
        let folder = copy_project("examples/transcode");
        assert_eq!(run(&["check"], folder.path()).code, 0);
        let broker = start(folder.path(), &variables(&store));
        watching(&broker, "uploads").await;
        store.put("in/letter.txt", b"Gr\xfc\xdfe aus K\xf6ln").await;
        store.put("in/über a+b.txt", b"\xe4").await;
        assert_eq!(store.wait_for("out/letter.txt").await, "Grüße aus Köln".as_bytes());
        assert_eq!(store.wait_for("out/über a+b.txt").await, "ä".as_bytes());
        assert_eq!(events(&broker, "text.transcoded", 2).await.len(), 2);
        // The bytes of the object were never in the journal: the event names it.
        let created = events(&broker, "s3.object_created", 2).await;
        assert!(created.iter().all(|event| !event.to_string().contains("aus K")), "{created:?}");
    }
}

#[tokio::test]
async fn a_function_that_writes_back_to_where_it_was_called_from_is_called_once() {
    for store in stores().await {
        let folder = copy_project("examples/transcode");
        // The results go where the source looks, and nothing but the data of each event could tell.
        let main = folder.path().join("eventyard.toml");
        let text = std::fs::read_to_string(&main).unwrap();
        let text =
            text.replace("prefix = \"out/\"", "prefix = \"in/\"").replace("key = \"{name}\"", "key = \"again-{name}\"");
        std::fs::write(&main, text).unwrap();
        let broker = start(folder.path(), &variables(&store));
        watching(&broker, "uploads").await;
        store.put("in/letter.txt", b"\xe4").await;
        assert_eq!(store.wait_for("in/again-letter.txt").await, "ä".as_bytes());
        // Several listings later.
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(store.keys("in/").await, ["in/again-letter.txt", "in/letter.txt"]);
        assert_eq!(events(&broker, "s3.object_created", 1).await.len(), 1);
        drop(broker);
        // Where the circle can be seen, it is refused before anything runs.
        let rules = folder.path().join("rules/transcode.toml");
        let text = std::fs::read_to_string(&rules).unwrap();
        std::fs::write(&rules, text.replace(", data = { key = [{ suffix = \".txt\" }] }", "")).unwrap();
        let checked = run(&["check"], folder.path());
        assert_eq!(checked.code, 2, "{}{}", checked.stdout, checked.stderr);
        let said = checked.stdout + &checked.stderr;
        assert!(said.contains("event_cycle") && said.contains("another prefix"), "{said}");
    }
}

#[tokio::test]
async fn a_stop_in_the_middle_loses_and_repeats_nothing() {
    for store in stores().await {
        let folder = copy_project("examples/transcode");
        let mut broker = start(folder.path(), &variables(&store));
        watching(&broker, "uploads").await;
        for number in 0..20 {
            store.put(&format!("in/{number}.txt"), b"\xe4").await;
            if number == 10 {
                broker.kill();
                broker = start(folder.path(), &variables(&store));
            }
        }
        for number in 0..20 {
            store.wait_for(&format!("out/{number}.txt")).await;
        }
        assert_eq!(events(&broker, "s3.object_created", 20).await.len(), 20);
    }
}

/// A project whose store calls it.
const NOTIFIED: &str = r#"
[server]
listen = "127.0.0.1:PORT"

[source.uploads]
kind = "s3"
endpoint = { env = "S3_ENDPOINT", default = "http://127.0.0.1:1" }
bucket = { env = "BUCKET", default = "photos" }
prefix = "in/"
access_key_id = "eventyard"
secret_access_key = "eventyard-secret"
notifications = "webhook"
path = "/hooks/uploads"
AUTH

[sink.nowhere]
kind = "discard"
"#;

const NOTIFIED_RULES: &str = r#"
[[rule]]
name = "seen"
from = ["uploads"]
target = { sink = "nowhere" }
"#;

#[tokio::test]
async fn a_store_that_calls_makes_the_same_events_in_every_dialect() {
    for kind in Kind::ALL {
        let (port, at) = (free_port(), free_port());
        let hook = format!("http://127.0.0.1:{port}/hooks/uploads");
        let own = |name: &str, value: String| (format!("{}_{name}", kind_word(kind)), value);
        let variables_of_own = [
            own("INSTANCE", format!("-hook-{}", std::process::id())),
            own("PORT", at.to_string()),
            own("WEBHOOK", hook.clone()),
            own("WEBHOOK_TOKEN", "canary-token".to_owned()),
        ];
        let auth = if kind == Kind::Minio { "auth_token = \"canary-token\"" } else { "" };
        let main = NOTIFIED.replace("PORT", &port.to_string()).replace("AUTH", auth);
        let folder = project(&[("eventyard.toml", &main), ("rules/seen.toml", NOTIFIED_RULES)]);
        let bucket = bucket_name();
        // First the broker: versitygw does not start where nobody takes its test.
        let reach = [("S3_ENDPOINT", format!("http://127.0.0.1:{at}")), ("BUCKET", bucket.clone())];
        let broker = start(folder.path(), &reach);
        let Some(store) = store_with(kind, &variables_of_own, bucket).await else { continue };
        if kind == Kind::Minio {
            store.tell_of_changes("webhook").await;
        }
        let key = "in/über a+b%20.txt";
        store.put(key, b"abc").await;
        store.put("elsewhere/a.txt", b"abc").await;
        store.delete(key).await;
        let created = events(&broker, "s3.object_created", 1).await;
        let deleted = events(&broker, "s3.object_deleted", 1).await;
        assert_eq!((created.len(), deleted.len()), (1, 1), "{kind:?}");
        for event in [&created[0], &deleted[0]] {
            let id = event["event"].as_str().unwrap();
            let event = &get(&broker, &format!("/api/v1/events/{id}")).await["cloudevent"];
            assert_eq!(
                (&event["data"]["bucket"], &event["data"]["key"]),
                (&store.bucket.as_str().into(), &key.into()),
                "{kind:?}"
            );
            assert_eq!(event["subject"], format!("{}/{key}", store.bucket));
            assert!(event["data"]["sequencer"].is_string(), "{event:#}");
        }
        // A repeat of what came is recognised; what is none is refused, and so is who cannot prove himself.
        let post = async |body: String, token: &str| {
            let call = reqwest::Client::new().post(&hook).header("content-type", "application/json");
            let answer = call.header("authorization", token).body(body).send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        };
        let body = format!(
            r#"{{"Records":[{{"eventSource":"aws:s3","eventTime":"2026-11-22T00:00:00Z","eventName":"ObjectRemoved:Delete",
            "s3":{{"bucket":{{"name":"{}"}},"object":{{"key":"in/gone+away.txt","sequencer":"0055"}}}}}}]}}"#,
            store.bucket
        );
        let (status, said) = post(body.clone(), "Bearer canary-token").await;
        assert_eq!((status, &said["accepted"][0]["duplicate"]), (202, &false.into()), "{said:#}");
        let (status, said) = post(body.clone(), "Bearer canary-token").await;
        assert_eq!((status, &said["accepted"][0]["duplicate"]), (202, &true.into()), "{said:#}");
        let (status, said) = post("{}".to_owned(), "Bearer canary-token").await;
        assert_eq!((status, &said["code"]), (400, &"not_s3".into()));
        if kind == Kind::Minio {
            assert_eq!(post(body, "Bearer guessed").await.0, 401);
        }
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Versitygw => "VERSITYGW",
        Kind::Minio => "MINIO",
    }
}
