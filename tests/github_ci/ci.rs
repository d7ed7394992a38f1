//! A copy of examples/github-ci with its broker, and GitHub in front of it.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use crate::support::{Broker, copy_project, eventyard};

/// Nothing that is waited for takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

// Each looks like nothing else, so that it is found wherever it turns up.
pub(super) const WEBHOOK_SECRET: &str = "canary-webhook-9f1c27e05b";
pub(super) const API_TOKEN: &str = "canary-token-44d0a6b8e2";
pub(super) const ALERT_KEY: &str = "canary-alert-c07b93d51f";
pub(super) const REGISTRY_TOKEN: &str = "canary-registry-e8a2571d6c";

const VARIABLES: &[(&str, &str)] = &[
    ("GITHUB_SECRET", WEBHOOK_SECRET),
    ("EVENTYARD_TOKEN", API_TOKEN),
    ("ALERT_KEY", ALERT_KEY),
    ("REGISTRY_TOKEN", REGISTRY_TOKEN),
];

/// What GitHub would send.
#[derive(Clone)]
pub(super) struct Delivery {
    event: String,
    body: String,
    pub(super) id: String,
    pub(super) signature: Option<String>,
}

impl Delivery {
    /// The `place`-th delivery, not signed.
    pub(super) fn new(event: &str, body: &str, place: usize) -> Delivery {
        Delivery { event: event.to_owned(), body: body.to_owned(), id: super::delivery_id(place), signature: None }
    }

    pub(super) fn signed(&self, secret: &str) -> Delivery {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(self.body.as_bytes());
        let sum: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Delivery { signature: Some(format!("sha256={sum}")), ..self.clone() }
    }
}

pub(super) struct Ci {
    folder: tempfile::TempDir,
    broker: std::sync::Mutex<Broker>,
    url: String,
    http: reqwest::Client,
    variables: Vec<(&'static str, String)>,
}

impl Ci {
    pub(super) fn start() -> Ci {
        Ci::start_changed(&[], |_| {})
    }

    /// With more variables, and its files changed before the start. What the broker logs is in `broker.log`, and
    /// is everything it can say.
    pub(super) fn start_changed(more: &[(&'static str, &str)], change: impl FnOnce(&Path)) -> Ci {
        eventyard_connectors::http::install_crypto();
        let folder = copy_project("examples/github-ci");
        change(folder.path());
        let mut variables: Vec<_> = VARIABLES.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let broker = launch(folder.path(), &variables);
        let url = broker.url();
        let http = reqwest::Client::builder().timeout(DEADLINE).build().unwrap();
        Ci { folder, broker: std::sync::Mutex::new(broker), url, http, variables }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops in order.
    pub(super) fn stop(&self) {
        assert_eq!(self.broker.lock().unwrap().terminate(), Some(0));
    }

    /// Starts again after a stop, at the same address.
    pub(super) fn start_again(&self) {
        *self.broker.lock().unwrap() = launch(self.folder(), &self.variables);
    }

    /// Sends one delivery to the hook.
    pub(super) async fn post(&self, delivery: &Delivery) -> (u16, Value) {
        let mut request = self
            .http
            .post(format!("{}/hooks/github", self.url))
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/044aadd")
            .header("x-github-event", &delivery.event)
            .header("x-github-delivery", &delivery.id)
            .header("x-github-hook-id", "292430182");
        if let Some(signature) = &delivery.signature {
            request = request.header("x-hub-signature-256", signature);
        }
        let response = request.body(delivery.body.clone()).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    /// One call of the API with a token; headers and body as text.
    pub(super) async fn call(&self, method: &str, path: &str, token: &str, body: &'static str) -> (u16, String) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(token);
        let request = request.header("content-type", "application/json").body(body);
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), format!("{:?}", response.headers()));
        (status, format!("{headers}\n{}", response.text().await.unwrap()))
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(API_TOKEN);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    /// All of a list.
    pub(super) async fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{cursor}")).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("?cursor={next}"),
                None => return items,
            }
        }
    }

    /// Returns once no delivery is pending.
    pub(super) async fn settled(&self) {
        let began = Instant::now();
        loop {
            let status = self.get("/api/v1/status").await;
            if status["stats"]["unsettled"] == 0 {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "this never settles: {status:#}");
            // Between two questions, not instead of them.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The lines of one of the project's files; none where it is missing.
    pub(super) fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Runs one of eventyard's commands in the project's folder, with the project's variables.
    pub(super) fn command(&self, arguments: &[&str]) -> Output {
        let variables = self.variables.iter().map(|(name, value)| (*name, value.as_str()));
        eventyard(arguments, self.folder()).envs(variables).output().unwrap()
    }

    /// Runs a line of shell there.
    pub(super) fn shell(&self, line: &str) -> Output {
        let mut command = std::process::Command::new("sh");
        let variables = self.variables.iter().map(|(name, value)| (*name, value.as_str()));
        command.args(["-c", line]).current_dir(self.folder()).envs(variables).env("EVENTYARD_URL", &self.url);
        command.output().unwrap()
    }
}

fn launch(folder: &Path, variables: &[(&'static str, String)]) -> Broker {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("broker.log")).unwrap();
    let mut command = eventyard(&["run"], folder);
    command.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    Broker::spawn(command.env("EVENTYARD_LOG", "trace").stderr(log))
}
