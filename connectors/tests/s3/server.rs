//! The stores, and what tests do to them beside the connector.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Map, Value, json};

/// What a script says of how to reach its server.
type Reach = HashMap<String, String>;

/// A store of somebody else's making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Versitygw,
    Minio,
}

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Versitygw, Kind::Minio];

    fn name(self) -> &'static str {
        match self {
            Kind::Versitygw => "versitygw",
            Kind::Minio => "minio",
        }
    }

    /// How to reach it: `KEY=VALUE` lines of its script. Started once for all tests. `None`, and a line that says why,
    /// where it cannot be had.
    #[expect(clippy::print_stdout, reason = "a test that is skipped says why")]
    fn start(self) -> Option<Reach> {
        static STARTED: OnceLock<Mutex<HashMap<Kind, Option<Reach>>>> = OnceLock::new();
        let mut started = STARTED.get_or_init(Mutex::default).lock().unwrap();
        let answer = started.entry(self).or_insert_with(|| {
            let script =
                PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/services/{}.sh", self.name()));
            let required = std::env::var_os("EVENTYARD_SERVICES_REQUIRED").is_some_and(|value| value == "1");
            // What takes long to build comes later, when all of this is run again for it.
            if std::env::var("EVENTYARD_SERVICES_LATER").is_ok_and(|names| names == self.name()) {
                println!("SKIPPED: {} comes later", self.name());
                return None;
            }
            if !required && !self.is_built() {
                println!("SKIPPED: {} is not built; tests/services/{}.sh start builds it", self.name(), self.name());
                return None;
            }
            let output = Command::new(script).arg("start").output().unwrap();
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(!required, "{} does not start: {said}", self.name());
                println!("SKIPPED: {} does not start: {said}", self.name());
                return None;
            }
            let lines = String::from_utf8_lossy(&output.stdout).into_owned();
            Some(
                lines
                    .lines()
                    .filter_map(|line| line.split_once('='))
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .collect(),
            )
        });
        answer.clone()
    }

    fn is_built(self) -> bool {
        let home = std::env::var_os("EVENTYARD_SERVICES").map(PathBuf::from).or_else(|| {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
            Some(cache.join("eventyard-services"))
        });
        home.is_some_and(|home| home.join("bin").join(self.name()).exists())
    }
}

/// A bucket of its own for one test.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) client: Client,
    reach: Reach,
}

/// A new bucket on each store that can be had.
pub(crate) async fn buckets(test: &str) -> Vec<Bucket> {
    let mut buckets = Vec::new();
    for kind in Kind::ALL {
        buckets.extend(bucket(kind, test).await);
    }
    buckets
}

/// A new bucket on one store.
pub(crate) async fn bucket(kind: Kind, test: &str) -> Option<Bucket> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let reach = kind.start()?;
    let client = client(&reach["S3_ENDPOINT"], &reach["AWS_ACCESS_KEY_ID"], &reach["AWS_SECRET_ACCESS_KEY"]);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    // Servers live on between runs, and two checkouts may run at once.
    let name = format!("{test}-{}-{number}-{:06x}", std::process::id(), fastrand::u32(..0x0100_0000));
    client.create_bucket().bucket(&name).send().await.unwrap();
    Some(Bucket { kind, name, client, reach })
}

pub(crate) fn client(endpoint: &str, id: &str, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(id, secret, None, None, "test"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    Client::from_conf(config.build())
}

impl Bucket {
    pub(crate) fn endpoint(&self) -> &str {
        &self.reach["S3_ENDPOINT"]
    }

    /// The keys by which a connector reaches it, and these.
    pub(crate) fn table(&self, more: &Value) -> Map<String, Value> {
        let mut table = json!({
            "endpoint": self.endpoint(),
            "bucket": self.name,
            "access_key_id": self.reach["AWS_ACCESS_KEY_ID"],
            "secret_access_key": self.reach["AWS_SECRET_ACCESS_KEY"],
        });
        let table = table.as_object_mut().unwrap();
        table.extend(more.as_object().unwrap().clone());
        table.clone()
    }

    pub(crate) async fn put(&self, key: &str, body: &[u8]) -> String {
        let put = self.client.put_object().bucket(&self.name).key(key).body(ByteStream::from(body.to_vec()));
        put.send().await.unwrap().e_tag().unwrap_or_default().trim_matches('"').to_owned()
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.client.delete_object().bucket(&self.name).key(key).send().await.unwrap();
    }

    pub(crate) async fn get(&self, key: &str) -> (Vec<u8>, HashMap<String, String>) {
        let got = self.client.get_object().bucket(&self.name).key(key).send().await.unwrap();
        let metadata = got.metadata().cloned().unwrap_or_default();
        (got.body.collect().await.unwrap().to_vec(), metadata)
    }

    /// All keys, sorted.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let mut token = None;
        loop {
            let page =
                self.client.list_objects_v2().bucket(&self.name).set_continuation_token(token).send().await.unwrap();
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                return keys;
            }
        }
    }
}
