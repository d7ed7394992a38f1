//! A broker with a project and a scripted store behind a real listener: what the tests of the HTTP interface
//! talk to.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use eventyard::broker::Broker;
use eventyard::callees::{self, Built};
use eventyard::clock::Clocks;
use eventyard::config;
use eventyard::in_force::InForce;
use eventyard::server::access::Token;
use eventyard::server::{ServerLimits, ServerSettings, serve};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::scripted_store::ScriptedStore;
use crate::wire::{Answer, request};

/// What the sources of the test project share with their senders.
pub(crate) const SECRET: &str = "It's a Secret to Everybody";
/// Another one, while rotating.
pub(crate) const OLD_SECRET: &str = "it was a secret";
/// The key that the source `billing` shares with its sender, in base64.
pub(crate) const BILLING_KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// `[limits] event` of the test project.
pub(crate) const EVENT_BYTES_MAX: usize = 16 * 1024;
/// `[limits] batch` of the test project.
pub(crate) const BATCH_EVENTS_MAX: usize = 10;

pub(crate) struct HttpBroker {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<ScriptedStore>,
    pub(crate) broker: Arc<Broker>,
    _folder: tempfile::TempDir,
    _stop: tokio_util::sync::DropGuard,
}

/// Without a token.
pub(crate) async fn start() -> HttpBroker {
    start_with(ServerSettings::default()).await
}

pub(crate) async fn start_with_token(token: &str) -> HttpBroker {
    start_with(ServerSettings { token: Some(Token::new(token)), ..ServerSettings::default() }).await
}

pub(crate) async fn start_with(settings: ServerSettings) -> HttpBroker {
    start_both(settings, |_| {}).await
}

/// With something else in force than the project says.
pub(crate) async fn start_changed(change: impl FnOnce(&mut InForce)) -> HttpBroker {
    start_both(ServerSettings::default(), change).await
}

async fn start_both(settings: ServerSettings, change: impl FnOnce(&mut InForce)) -> HttpBroker {
    eventyard_connectors::http::install_crypto();
    let clocks = Clocks::machine();
    let folder = tempfile::tempdir().unwrap();
    write_project(folder.path());
    let (project, _) =
        config::load(folder.path(), &|_| None).unwrap_or_else(|report| panic!("{}", report.render(false)));
    let Built { mut in_force, sources } = callees::build(project, Path::new("/bin/false"), clocks.now()).unwrap();
    change(&mut in_force);
    let store = Arc::new(ScriptedStore::default());
    let broker = Arc::new(Broker::new(Arc::clone(&store) as Arc<_>, clocks, in_force, 7));
    broker.set_accepting(true);
    broker.run_sources(sources);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let limits = ServerLimits { batch_bytes_max: 64 * 1024, ..settings.limits };
    let settings = ServerSettings { limits, ..settings };
    tokio::spawn(serve(listener, Arc::clone(&broker), settings, stop.clone()));
    HttpBroker { address, store, broker, _folder: folder, _stop: stop.drop_guard() }
}

impl HttpBroker {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        request(self.address, &format!("GET {path} HTTP/1.1"), "").await
    }

    /// A call of the API with a JSON body.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let head = format!("{method} {path} HTTP/1.1\ncontent-type: application/json");
        request(self.address, &head, body).await
    }

    /// One CloudEvent in structured mode.
    pub(crate) async fn send(&self, json: &str) -> Answer {
        let head = "POST /events HTTP/1.1\ncontent-type: application/cloudevents+json";
        request(self.address, head, json).await
    }

    /// An order that the rule `big-orders` matches; our id of it.
    pub(crate) async fn big_order(&self, id: &str) -> String {
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/shop", "type": "order.created", "data": { "amount": 1500 },
        });
        let answer = self.send(&event.to_string()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["accepted"][0]["event"].as_str().unwrap().to_owned()
    }
}

/// The project's files.
fn write_project(folder: &Path) {
    let main = format!(
        r#"
[limits]
event = "{EVENT_BYTES_MAX}B"
batch = {BATCH_EVENTS_MAX}

[source.github]
kind = "http"
path = "/hooks/github"
preset = "github"
secret = ["{SECRET}", "{OLD_SECRET}"]
tags = ["ci"]

[source.billing]
kind = "http"
path = "/hooks/billing"
verify = {{ kind = "standard-webhooks", secret = "whsec_{BILLING_KEY}" }}

[source.anything]
kind = "http"
path = "/in/{{kind}}"
methods = ["POST", "PUT"]

[source.nightly]
kind = "timer"
schedule = "30 2 * * *"

[channel.oncall]
kind = "webhook"
url = "http://127.0.0.1:9/alerts"
alerts = ["dead_letter"]
"#
    );
    let rules = r#"
[[rule]]
name = "big-orders"
description = "orders that somebody should look at"
[rule.pattern]
type = ["order.created"]
data.amount = [{ numeric = [">", 1000] }]
[[rule.target]]
http = { url = "http://127.0.0.1:9/t?key=confidential" }
"#;
    std::fs::write(folder.join("eventyard.toml"), main).unwrap();
    std::fs::create_dir(folder.join("rules")).unwrap();
    std::fs::write(folder.join("rules/orders.toml"), rules).unwrap();
}
