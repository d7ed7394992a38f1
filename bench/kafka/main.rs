//! From Kafka by a rule, durably, to Kafka; beside a bare loop of the same client, which keeps nothing.
//!
//! ```text
//! bench/queue.sh kafka [--server HOST:PORT] [--messages N] [--size BYTES] [--rounds N] [--input raw|data] [--binary PATH]
//!                      [--dir FOLDER]
//! ```
//!
//! The messages lie in a topic of three partitions before the clock starts. The bare loop reads them as a group, writes
//! each to another topic with `acks=all` and idempotence, and commits; eventyard does the same by a source, a rule that
//! looks into the data, the journal, and a sink. The clock runs from the first message to the last that the cluster has
//! of the output; both in turns, and the ratio is that of the medians.
//!
//! Both write the same bytes, but for a few headers: eventyard adds the event's attributes to a message, and so does the bare
//! loop, as texts that stand ready. With `--input data` eventyard adds four headers, and the bare loop none.
//!
//! Its topics are removed again, for a run fills a gigabyte.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message};

#[path = "../load/broker.rs"]
#[expect(dead_code, reason = "the bench of the whole broker asks for more")]
mod broker;
#[path = "../../store/examples/store_bench/machine.rs"]
#[expect(dead_code, reason = "the bench of the store asks for more")]
mod machine;

#[path = "../passing.rs"]
mod passing;

use passing::{Asked, Failure, RUN_MAX, Rounds, body, through_eventyard};

const PARTITIONS: i32 = 3;
const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    passing::main("kafka", "127.0.0.1:9192", 300_000, run).await
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn run(asked: &Asked) -> Result<(), Failure> {
    println!("{}", machine::describe(&asked.dir));
    let run = std::process::id();
    let from = format!("bench-{run}-in");
    let mut topics = vec![from.clone()];
    let measured = measure(asked, &format!("bench-{run}"), &from, &mut topics).await;
    remove(asked, &topics).await?;
    measured
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn measure(asked: &Asked, run: &str, from: &str, topics: &mut Vec<String>) -> Result<(), Failure> {
    create(asked, from).await?;
    fill(asked, from)?;
    println!("{} messages of {} bytes in {PARTITIONS} partitions, input {}", asked.messages, asked.size, asked.input);
    let mut rounds = Rounds::default();
    for round in 0..asked.rounds {
        let to = format!("{run}-bare-{round}");
        create(asked, &to).await?;
        topics.push(to.clone());
        rounds.bare(bare_loop(asked, from, &to)?);
        let to = format!("{run}-out-{round}");
        create(asked, &to).await?;
        topics.push(to.clone());
        let server = &asked.server;
        let source = format!("kind = \"kafka\"\nbrokers = \"{server}\"\ntopics = \"{from}\"\ngroup = \"{to}\"");
        let sink = format!("kind = \"kafka\"\nbrokers = \"{server}\"\ntopic = \"{to}\"");
        let looking: BaseConsumer = config(asked).set("group.id", "looking").create()?;
        let written = async || count(&looking, &to);
        rounds.ours(asked, through_eventyard(asked, &source, &sink, written).await?);
    }
    rounds.end();
    Ok(())
}

/// How many messages a topic has.
fn count(looking: &BaseConsumer, topic: &str) -> Result<u64, Failure> {
    let mut all = 0;
    for partition in 0..PARTITIONS {
        all += looking.fetch_watermarks(topic, partition, TIMEOUT)?.1;
    }
    Ok(all.unsigned_abs())
}

fn config(asked: &Asked) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &asked.server);
    config
}

async fn create(asked: &Asked, topic: &str) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> = config(asked).create()?;
    let topic = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let made = admin.create_topics([&topic], &AdminOptions::new()).await?;
    made.into_iter().try_for_each(|made| made.map(|_| ())).map_err(|(topic, error)| format!("{topic}: {error}").into())
}

async fn remove(asked: &Asked, topics: &[String]) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> = config(asked).create()?;
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    // One that was never made is as good as removed.
    admin.delete_topics(&topics, &AdminOptions::new()).await?;
    Ok(())
}

fn fill(asked: &Asked, topic: &str) -> Result<(), Failure> {
    let producer: BaseProducer = config(asked).set("linger.ms", "20").create()?;
    for number in 0..asked.messages {
        let value = body(number, asked.size);
        let mut record = BaseRecord::<str, str>::to(topic).payload(&value);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    producer.poll(Duration::from_millis(10));
                    record = back;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
    Ok(producer.flush(TIMEOUT)?)
}

/// The headers that eventyard gives a message of the bench with `--input raw`, with values of the same lengths.
const HEADERS: [(&str, &str); 13] = [
    ("ce_specversion", "1.0"),
    ("ce_id", "bench-12345-in/0/123456"),
    ("ce_source", "/sources/in"),
    ("ce_type", "kafka.message"),
    ("ce_subject", "bench-12345-in"),
    ("ce_time", "2026-11-23T11:00:00.000Z"),
    ("ce_offset", "123456"),
    ("ce_partition", "0"),
    ("ce_topic", "bench-12345-in"),
    ("content-type", "application/json"),
    ("eventyard-delivery", "01KAS0Y1M2F3G4H5J6K7M8N9P0-0"),
    ("eventyard-hops", "1"),
    ("traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"),
];

fn headers() -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(HEADERS.len());
    HEADERS.into_iter().fold(empty, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

/// Counts what the cluster has reported.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn bare_loop(asked: &Asked, from: &str, to: &str) -> Result<f64, Failure> {
    let consumer: BaseConsumer = config(asked)
        .set("group.id", to)
        .set("auto.offset.reset", "earliest")
        .set("auto.commit.interval.ms", "100")
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let written = Counting::default();
    let producer: ThreadedProducer<Counting> = config(asked)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create_with_context(written.clone())?;
    consumer.subscribe(&[from])?;
    let began = Instant::now();
    let mut first = None;
    let mut read = 0;
    while read < asked.messages {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        first.get_or_insert_with(Instant::now);
        let mut record = BaseRecord::<[u8], [u8]>::to(to).payload(message.payload().unwrap_or_default());
        if asked.input == "raw" {
            record = record.headers(headers());
        }
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            broker::pause(Duration::from_millis(1));
            record = back;
        }
        read += 1;
    }
    producer.flush(TIMEOUT)?;
    match consumer.commit_consumer_state(CommitMode::Sync) {
        // The client has told the group already, by itself.
        Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
        Err(error) => return Err(error.into()),
    }
    if written.0.load(Ordering::Relaxed) < asked.messages || began.elapsed() > RUN_MAX {
        return Err("the bare loop did not write all".into());
    }
    Ok(asked.messages as f64 / first.unwrap_or(began).elapsed().as_secs_f64())
}
