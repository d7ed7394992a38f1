//! How long 10,000 events of 1 KiB take to be objects of lines: `cargo run --release -p eventyard-connectors --features s3
//! --example s3_sink`, with what `tests/services/minio.sh start` prints in the environment. Every event is confirmed by
//! the store before it counts. A figure is printed, and nothing is asserted.
#![expect(clippy::print_stdout, reason = "a program that measures says what it measured")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventyard_connectors::s3::{S3Sink, SINK_SPEC};
use eventyard_connectors::sink::{Payload, PayloadForm, SendRequest, Sink};
use eventyard_connectors::spec::normalise;
use eventyard_event::{Data, Envelope, Event, EventId, Name, Timestamp};
use futures_util::StreamExt;
use serde_json::{Value, json};

const EVENTS: u64 = 10_000;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("set {name}"));
    let bucket = std::env::var("BUCKET").unwrap_or_else(|_| format!("bench-{}", std::process::id()));
    make_bucket(&variable("S3_ENDPOINT"), &bucket).await;
    for compression in ["none", "gzip"] {
        let table = json!({
            "endpoint": variable("S3_ENDPOINT"), "bucket": bucket, "compression": compression,
            "batch": { "max": 5000, "size": "8MiB", "window": "200ms" },
        });
        let table = Value::Object(normalise(SINK_SPEC.fields, table.as_object().unwrap()).unwrap());
        let sink = S3Sink::build(&table).ok().unwrap();
        for _ in 0..ROUNDS {
            let requests: Vec<SendRequest> = (0..EVENTS).map(request).collect();
            let began = Instant::now();
            let at_once = sink.concurrency().unwrap_or(64);
            let sent = futures_util::stream::iter(requests).map(|request| sink.send(request)).buffer_unordered(at_once);
            let sent = sent.filter(|sent| std::future::ready(sent.is_ok())).count().await;
            println!("compression = {compression}: {sent} events in {} ms", began.elapsed().as_millis());
        }
    }
}

async fn make_bucket(endpoint: &str, bucket: &str) {
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
    let variable = |name: &str| std::env::var(name).unwrap();
    let key = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(key.0, key.1, None, None, "bench"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    // One that is there already will do.
    let _ = aws_sdk_s3::Client::from_conf(config.build()).create_bucket().bucket(bucket).send().await;
}

fn request(number: u64) -> SendRequest {
    let data = Bytes::from(json!({ "number": number, "filling": "x".repeat(1000) }).to_string());
    let event = Event {
        id: number.to_string().into(),
        source: "/bench".into(),
        ty: "bench.event".into(),
        datacontenttype: Some("application/json".into()),
        data: Data::Json(data.clone()),
        ..Event::default()
    };
    let mut id = [0; 16];
    id.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    let envelope = Envelope {
        id: EventId::from_bytes(id),
        namespace: Name::default_namespace(),
        source_name: Name::new("bench").unwrap(),
        tags: Vec::new(),
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: true,
        event,
    };
    SendRequest {
        delivery: format!("{}-0", envelope.id),
        attempt: 1,
        at: Timestamp::EPOCH,
        payload: Payload { content_type: None, body: data, form: PayloadForm::Raw },
        event: Arc::new(envelope),
        timeout: Duration::from_secs(30),
        traceparent: None,
    }
}
