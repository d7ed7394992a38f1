//! A real store on loopback, and the few calls that tests make of it, signed by hand: the client itself would have to be
//! compiled for every test of this program.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// How long a store that answers may still refuse what it will do.
const READY_MAX: Duration = Duration::from_secs(30);

/// A store of somebody else's making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Versitygw,
    Minio,
}

impl Kind {
    pub(super) const ALL: [Kind; 2] = [Kind::Versitygw, Kind::Minio];

    fn name(self) -> &'static str {
        match self {
            Kind::Versitygw => "versitygw",
            Kind::Minio => "minio",
        }
    }

    fn script(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/services/{}.sh", self.name()))
    }

    fn is_built(self) -> bool {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let cache = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        let home = variable("EVENTYARD_SERVICES").or_else(|| Some(cache()?.join("eventyard-services")));
        home.is_some_and(|home| home.join("bin").join(self.name()).exists())
    }
}

/// A bucket of its own on a store.
pub(super) struct Store {
    pub(super) kind: Kind,
    pub(super) endpoint: String,
    pub(super) bucket: String,
    http: reqwest::Client,
    key_id: String,
    secret: String,
    /// Where this test has a server of its own: its script and what that was told.
    own: Option<(PathBuf, Vec<(String, String)>)>,
}

/// A new bucket on each store that can be had.
pub(super) async fn stores() -> Vec<Store> {
    let mut stores = Vec::new();
    for kind in Kind::ALL {
        stores.extend(store(kind, &[]).await);
    }
    stores
}

/// A new bucket on one store; on a server of its own where there are variables for its script. `None`, and a line that
/// says why, where it cannot be had.
pub(super) async fn store(kind: Kind, variables: &[(String, String)]) -> Option<Store> {
    store_with(kind, variables, bucket_name()).await
}

/// A name that no other test has: servers live on between runs, and two checkouts may run at once.
pub(super) fn bucket_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("whole-{}-{number}-{:06x}", std::process::id(), fastrand::u32(..0x0100_0000))
}

/// The same with a name for the bucket.
#[expect(clippy::print_stdout, reason = "a test that is skipped says why")]
pub(super) async fn store_with(kind: Kind, variables: &[(String, String)], bucket: String) -> Option<Store> {
    eventyard_connectors::http::install_crypto();
    let required = std::env::var_os("EVENTYARD_SERVICES_REQUIRED").is_some_and(|value| value == "1");
    // What takes long to build comes later, when all of this is run again for it: also where it happens to be there in
    // the middle of it all.
    if std::env::var("EVENTYARD_SERVICES_LATER").is_ok_and(|names| names == kind.name()) {
        println!("SKIPPED: {} comes later", kind.name());
        return None;
    }
    if !required && !kind.is_built() {
        println!("SKIPPED: {0} is not built; tests/services/{0}.sh start builds it", kind.name());
        return None;
    }
    let script = kind.script();
    let output = Command::new(&script).arg("start").envs(variables.iter().cloned()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        assert!(!required, "{}", String::from_utf8_lossy(&output.stderr));
        println!("SKIPPED: {} does not start: {}", kind.name(), String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let reach: HashMap<&str, &str> = said.lines().filter_map(|line| line.split_once('=')).collect();
    let store = Store {
        kind,
        endpoint: reach["S3_ENDPOINT"].to_owned(),
        bucket,
        http: reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap(),
        key_id: reach["AWS_ACCESS_KEY_ID"].to_owned(),
        secret: reach["AWS_SECRET_ACCESS_KEY"].to_owned(),
        own: (!variables.is_empty()).then(|| (script, variables.to_vec())),
    };
    store.make_bucket().await;
    Some(store)
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some((script, variables)) = &self.own {
            let _ = Command::new(script).arg("wipe").envs(variables.iter().cloned()).output();
        }
    }
}

impl Store {
    /// Makes its bucket. A store that was just started may say that it is ready and still cut the first connections or
    /// refuse the first calls.
    async fn make_bucket(&self) {
        let deadline = tokio::time::Instant::now() + READY_MAX;
        let mut was_cut = false;
        loop {
            match self.try_call("PUT", "", "", b"").await {
                // What was cut may have been done.
                Ok((status, _)) if status == 200 || status == 409 && was_cut => return,
                Ok((503, _)) if tokio::time::Instant::now() < deadline => {}
                Ok((status, said)) => panic!("{status}: {}", String::from_utf8_lossy(&said)),
                Err(error) if tokio::time::Instant::now() < deadline => was_cut |= !error.is_connect(),
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Lets MinIO tell one of its targets (its word for it) of what changes in the bucket.
    pub(super) async fn tell_of_changes(&self, target: &str) {
        let wanted = format!(
            "<NotificationConfiguration><QueueConfiguration><Id>1</Id><Queue>arn:minio:sqs::1:{target}</Queue>\
             <Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event></QueueConfiguration></NotificationConfiguration>"
        );
        // A store that was just started knows its buckets before its targets.
        let deadline = tokio::time::Instant::now() + READY_MAX;
        loop {
            let (status, said) = self.call("PUT", "", "notification=", wanted.as_bytes()).await;
            if status == 200 {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{status}: {}", String::from_utf8_lossy(&said));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(super) async fn put(&self, key: &str, body: &[u8]) {
        let (status, said) = self.call("PUT", key, "", body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&said));
    }

    /// `None` where it is not there.
    pub(super) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let (status, body) = self.call("GET", key, "", b"").await;
        (status == 200).then_some(body)
    }

    /// Waits for an object.
    pub(super) async fn wait_for(&self, key: &str) -> Vec<u8> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(body) = self.get(key).await {
                return body;
            }
            assert!(tokio::time::Instant::now() < deadline, "{key} never came to {:?}", self.kind);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn delete(&self, key: &str) {
        assert_eq!(self.call("DELETE", key, "", b"").await.0, 204);
    }

    /// The keys below a prefix; not more than a thousand.
    pub(super) async fn keys(&self, prefix: &str) -> Vec<String> {
        let (_, body) = self.call("GET", "", &format!("list-type=2&prefix={}", escaped(prefix, false)), b"").await;
        let body = String::from_utf8(body).unwrap();
        body.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned()).collect()
    }

    pub(super) async fn call(&self, method: &str, key: &str, query: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.try_call(method, key, query, body).await.unwrap()
    }

    /// One call, signed as AWS's Signature Version 4 says.
    async fn try_call(
        &self,
        method: &str,
        key: &str,
        query: &str,
        body: &[u8],
    ) -> Result<(u16, Vec<u8>), reqwest::Error> {
        let now = eventyard::clock::Clocks::machine().now().to_jiff();
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &time[..8];
        let path = format!("/{}/{}", self.bucket, escaped(key, true));
        let path = path.trim_end_matches('/');
        let host = self.endpoint.trim_start_matches("http://");
        let sum = hex(&Sha256::digest(body));
        let canonical = if query.contains('=') || query.is_empty() { query.to_owned() } else { format!("{query}=") };
        let request = format!(
            "{method}\n{path}\n{canonical}\nhost:{host}\nx-amz-content-sha256:{sum}\nx-amz-date:{time}\n\nhost;x-amz-content-sha256;x-amz-date\n{sum}"
        );
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request.as_bytes())));
        let mut signing = format!("AWS4{}", self.secret).into_bytes();
        for part in [day, "us-east-1", "s3", "aws4_request", to_sign.as_str()] {
            let mut mac = Hmac::<Sha256>::new_from_slice(&signing).unwrap();
            mac.update(part.as_bytes());
            signing = mac.finalize().into_bytes().to_vec();
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={}",
            self.key_id,
            hex(&signing)
        );
        let url = format!("{}{path}{}{query}", self.endpoint, if query.is_empty() { "" } else { "?" });
        let call = self.http.request(method.parse().unwrap(), url).header("x-amz-date", time);
        let call = call.header("x-amz-content-sha256", sum).header("authorization", authorization);
        let answer = call.body(body.to_vec()).send().await?;
        Ok((answer.status().as_u16(), answer.bytes().await?.to_vec()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn escaped(text: &str, keep_slashes: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep_slashes && byte == b'/';
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
