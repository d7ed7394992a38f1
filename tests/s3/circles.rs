//! What goes from bucket to bucket comes to an end.

use std::time::Duration;

use super::store::{Kind, store};
use super::{events, get, start, watching};
use crate::support::{free_port, project, run};

/// Each source writes what it finds into the other one's bucket, under a key of its own.
const PROJECT: &str = r#"
[server]
listen = "127.0.0.1:PORT"

[source.here]
kind = "s3"
endpoint = { env = "S3_ENDPOINT" }
bucket = { env = "HERE" }
access_key_id = "eventyard"
secret_access_key = "eventyard-secret"
poll_every = "200ms"

[source.there]
kind = "s3"
endpoint = { env = "S3_ENDPOINT" }
bucket = { env = "THERE" }
access_key_id = "eventyard"
secret_access_key = "eventyard-secret"
poll_every = "200ms"

[sink.to-here]
kind = "s3"
endpoint = { env = "S3_ENDPOINT" }
bucket = { env = "HERE" }
prefix = ""
write = "object"
key = "{delivery}.txt"
access_key_id = "eventyard"
secret_access_key = "eventyard-secret"

[sink.to-there]
kind = "s3"
endpoint = { env = "S3_ENDPOINT" }
bucket = { env = "THERE" }
prefix = ""
write = "object"
key = "{delivery}.txt"
access_key_id = "eventyard"
secret_access_key = "eventyard-secret"
"#;

/// That these are a circle stands in the data of events alone.
const RULES: &str = r#"
[[rule]]
name = "there"
from = ["here"]
pattern = { data = { key = [{ suffix = ".txt" }] } }
target = { sink = "to-there", input = "object" }

[[rule]]
name = "back"
from = ["there"]
pattern = { data = { key = [{ suffix = ".txt" }] } }
target = { sink = "to-here", input = "object" }
"#;

#[tokio::test]
async fn a_circle_of_two_buckets_ends_after_one_round() {
    for kind in Kind::ALL {
        let (Some(here), Some(there)) = (store(kind, &[]).await, store(kind, &[]).await) else { continue };
        let main = PROJECT.replace("PORT", &free_port().to_string());
        let folder = project(&[("eventyard.toml", &main), ("rules/circle.toml", RULES)]);
        let variables =
            [("S3_ENDPOINT", here.endpoint.clone()), ("HERE", here.bucket.clone()), ("THERE", there.bucket.clone())];
        let broker = start(folder.path(), &variables);
        watching(&broker, "here").await;
        watching(&broker, "there").await;
        here.put("first.txt", b"round").await;
        let seen = events(&broker, "s3.object_created", 2).await;
        let deadline = tokio::time::Instant::now() + super::DEADLINE;
        while here.keys("").await.len() < 2 {
            assert!(tokio::time::Instant::now() < deadline, "it never came back to {kind:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Many listings later.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!((here.keys("").await.len(), there.keys("").await.len()), (2, 1), "{kind:?}");
        assert_eq!(events(&broker, "s3.object_created", 2).await.len(), 2, "{kind:?}");
        let via = async |source: &str| {
            let event = seen.iter().find(|event| event["source_name"] == source).unwrap();
            let shown = get(&broker, &format!("/api/v1/events/{}", event["event"].as_str().unwrap())).await;
            shown["cloudevent"]["eventyardvia"].as_str().unwrap().to_owned()
        };
        // Each source has added its own mark, and knows it again.
        let (first, second) = (via("here").await, via("there").await);
        assert!(first.starts_with("here-") && second.starts_with(&format!("{first},there-")), "{first} {second}");
        drop(broker);
        // Where the files show it, nothing of it runs.
        let bare: String =
            RULES.lines().filter(|line| !line.starts_with("pattern")).map(|l| format!("{l}\n")).collect();
        let plain = variables.iter().fold(main, |text, (name, value)| {
            text.replace(&format!("{{ env = \"{name}\" }}"), &format!("\"{value}\""))
        });
        let folder = project(&[("eventyard.toml", &plain), ("rules/circle.toml", &bare)]);
        let checked = run(&["check"], folder.path());
        assert_eq!(checked.code, 2, "{}{}", checked.stdout, checked.stderr);
        assert!((checked.stdout + &checked.stderr).contains("event_cycle"));
    }
}
