//! From Kafka by a rule, durably, to Kafka; beside a bare loop of the same client, which keeps nothing.
//!
//! ```text
//! bench/kafka.sh [--messages N] [--size BYTES] [--rounds N] [--binary PATH] [--dir FOLDER]
//! ```
//!
//! The messages lie in a topic of three partitions before the clock starts. The bare loop reads them as a group, writes
//! each to another topic with `acks=all` and idempotence, and commits; eventyard does the same by a source, a rule that
//! looks into the data, the journal, and a sink. The clock runs from the first message to the last that the cluster has
//! of the output; both in turns, and the ratio is that of the medians.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message};

#[path = "../load/broker.rs"]
#[expect(dead_code, reason = "the bench of the whole broker asks for more")]
mod broker;
#[path = "../../store/examples/store_bench/machine.rs"]
#[expect(dead_code, reason = "the bench of the store asks for more")]
mod machine;

type Failure = Box<dyn std::error::Error>;

const PARTITIONS: i32 = 3;
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long one run may take.
const RUN_MAX: Duration = Duration::from_secs(600);

struct Asked {
    brokers: String,
    messages: u64,
    size: usize,
    rounds: usize,
    binary: PathBuf,
    dir: PathBuf,
}

#[expect(clippy::print_stderr, reason = "a program for the terminal")]
fn main() -> ExitCode {
    let run = read(std::env::args().skip(1)).and_then(|asked| run(&asked));
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kafka: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Asked, Failure> {
    let mut asked = Asked {
        brokers: "127.0.0.1:9192".into(),
        messages: 300_000,
        size: 1024,
        rounds: 3,
        binary: "target/release/eventyard".into(),
        dir: std::env::temp_dir(),
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
        match name.as_str() {
            "--brokers" => asked.brokers = value,
            "--messages" => asked.messages = value.parse()?,
            "--size" => asked.size = value.parse()?,
            "--rounds" => asked.rounds = value.parse()?,
            "--binary" => asked.binary = value.into(),
            "--dir" => asked.dir = value.into(),
            _ => return Err(format!("there is no option {name}").into()),
        }
    }
    Ok(asked)
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn run(asked: &Asked) -> Result<(), Failure> {
    println!("{}", machine::describe(&asked.dir));
    let run = std::process::id();
    let from = format!("bench-{run}-in");
    create(asked, &from)?;
    fill(asked, &from)?;
    println!("{} messages of {} bytes in {PARTITIONS} partitions", asked.messages, asked.size);
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 0..asked.rounds {
        let to = format!("bench-{run}-bare-{round}");
        create(asked, &to)?;
        let rate = bare_loop(asked, &from, &to)?;
        println!("bare loop: {rate:.0} messages/s");
        bare.push(rate);
        let to = format!("bench-{run}-out-{round}");
        create(asked, &to)?;
        let (rate, seconds) = through_eventyard(asked, &from, &to)?;
        let micros = seconds * 1e6 / asked.messages as f64;
        println!("eventyard: {rate:.0} messages/s, {micros:.1} µs of processor time a message");
        ours.push(rate);
    }
    let (bare, ours) = (median(bare), median(ours));
    println!("medians: bare {bare:.0}, eventyard {ours:.0} messages/s, {:.0} %", 100.0 * ours / bare);
    Ok(())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn config(asked: &Asked) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &asked.brokers);
    config
}

fn create(asked: &Asked, topic: &str) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> = config(asked).create()?;
    let topic = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let made = wait_for(admin.create_topics([&topic], &AdminOptions::new()))?;
    made.into_iter().try_for_each(|made| made.map(|_| ())).map_err(|(topic, error)| format!("{topic}: {error}").into())
}

/// There is no runtime in this program, and librdkafka has threads of its own.
fn wait_for<T, E: std::error::Error + 'static>(future: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
    struct Wakes(std::thread::Thread);
    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Wakes(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(result) => return Ok(result?),
            std::task::Poll::Pending => std::thread::park_timeout(Duration::from_millis(50)),
        }
    }
}

fn fill(asked: &Asked, topic: &str) -> Result<(), Failure> {
    let producer: BaseProducer = config(asked).set("linger.ms", "20").create()?;
    let mut value = String::new();
    for number in 0..asked.messages {
        value.clear();
        value.push_str(&format!("{{\"order\":{number},\"amount\":{},\"note\":\"", 1000 + number % 1000));
        while value.len() < asked.size.saturating_sub(2) {
            value.push('x');
        }
        value.push_str("\"}");
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

fn through_eventyard(asked: &Asked, from: &str, to: &str) -> Result<(f64, f64), Failure> {
    let folder = asked.dir.join(format!("bench-kafka-{}", std::process::id()));
    write_project(&folder, asked, from, to)?;
    let measured = measure(asked, &folder, to);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure(asked: &Asked, folder: &Path, to: &str) -> Result<(f64, f64), Failure> {
    let looking: BaseConsumer = config(asked).set("group.id", "looking").create()?;
    let written = || -> Result<u64, Failure> {
        let mut all = 0;
        for partition in 0..PARTITIONS {
            all += looking.fetch_watermarks(to, partition, TIMEOUT)?.1;
        }
        Ok(all.unsigned_abs())
    };
    let running = broker::Broker::start(&asked.binary, folder)?;
    let began = Instant::now();
    let (mut first, mut before) = (None, 0.0);
    loop {
        let count = written()?;
        if count > 0 && first.is_none() {
            first = Some((Instant::now(), count));
            before = running.processor_seconds();
        }
        if count >= asked.messages {
            break;
        }
        if began.elapsed() > RUN_MAX {
            return Err(format!("{count} of {} came out", asked.messages).into());
        }
        broker::pause(Duration::from_millis(5));
    }
    let (at, count) = first.unwrap_or((began, 0));
    let rate = (asked.messages - count) as f64 / at.elapsed().as_secs_f64();
    let seconds = running.processor_seconds() - before;
    running.stop()?;
    Ok((rate, seconds))
}

fn write_project(folder: &Path, asked: &Asked, from: &str, to: &str) -> Result<(), Failure> {
    std::fs::create_dir_all(folder.join("rules"))?;
    let main = format!(
        "[server]\nlisten = \"127.0.0.1:8484\"\n\n\
         [source.in]\nkind = \"kafka\"\nbrokers = \"{0}\"\ntopics = \"{from}\"\ngroup = \"{to}\"\n\n\
         [sink.out]\nkind = \"kafka\"\nbrokers = \"{0}\"\ntopic = \"{to}\"\n",
        asked.brokers
    );
    std::fs::write(folder.join("eventyard.toml"), main)?;
    let rule = "[[rule]]\nname = \"orders\"\nfrom = [\"in\"]\ntarget = { sink = \"out\" }\n[rule.pattern]\n\
                data.amount = [{ numeric = [\">\", 10] }]\n";
    std::fs::write(folder.join("rules/orders.toml"), rule)?;
    Ok(())
}
