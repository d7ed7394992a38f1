//! From RabbitMQ by a rule, durably, to RabbitMQ; beside a bare loop of the same client, which keeps nothing.
//!
//! ```text
//! bench/queue.sh amqp [--server URL] [--messages N] [--size BYTES] [--rounds N] [--binary PATH] [--dir FOLDER]
//! ```
//!
//! The messages, persistent, lie in a durable classic queue before the clock starts, and are put there anew for each
//! run. The bare loop consumes them, publishes each as persistent and mandatory to another queue, as many at a time as
//! eventyard's sink does, and acknowledges a message when the server has confirmed it; eventyard does the same by a
//! source, a rule that looks into the data, the journal, and a sink. The clock runs from the first message to the last
//! that the server has of the output; both in turns, and the ratio is that of the medians.

use std::process::ExitCode;
use std::time::Instant;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

#[path = "../load/broker.rs"]
#[expect(dead_code, reason = "the bench of the whole broker asks for more")]
mod broker;
#[path = "../../store/examples/store_bench/machine.rs"]
#[expect(dead_code, reason = "the bench of the store asks for more")]
mod machine;
#[path = "../passing.rs"]
mod passing;

use passing::{Asked, Failure, RUN_MAX, Rounds, body, through_eventyard};

/// How many messages are published at a time: what eventyard's sink asks for.
const AT_ONCE: usize = 500;
/// How many may be unacknowledged: what eventyard's source asks for.
const PREFETCH: u16 = 2000;
/// Kept on disk by the server.
const PERSISTENT: u8 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    passing::main("amqp", "amqp://guest:guest@127.0.0.1:5722/%2f", 50_000, run).await
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn run(asked: &Asked) -> Result<(), Failure> {
    println!("{}", machine::describe(&asked.dir));
    let connection = Connection::connect(&asked.server, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    println!("{} messages of {} bytes in a queue", asked.messages, asked.size);
    let run = std::process::id();
    let (from, to) = (format!("bench-{run}-in"), format!("bench-{run}-out"));
    let mut rounds = Rounds::default();
    for _ in 0..asked.rounds {
        prepare(&channel, asked, [&from, &to]).await?;
        rounds.bare(bare_loop(&connection, asked, &from, &to).await?);
        prepare(&channel, asked, [&from, &to]).await?;
        // A password stands in no file as it is.
        std::fs::create_dir_all(&asked.dir)?;
        let url = asked.dir.join(format!("bench-amqp-{run}.url"));
        std::fs::write(&url, &asked.server)?;
        let url = std::fs::canonicalize(url)?;
        let url_text = url.display();
        let source = format!("kind = \"amqp\"\nurl = {{ file = \"{url_text}\" }}\nqueue = \"{from}\"");
        let sink = format!("kind = \"amqp\"\nurl = {{ file = \"{url_text}\" }}\nrouting_key = \"{to}\"");
        let written = async || count(&channel, &to).await;
        let measured = through_eventyard(asked, &source, &sink, written).await;
        std::fs::remove_file(&url)?;
        rounds.ours(asked, measured?);
    }
    for queue in [&from, &to] {
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    }
    rounds.end();
    Ok(())
}

/// Both queues anew, and the messages in the first.
async fn prepare(channel: &Channel, asked: &Asked, [from, to]: [&str; 2]) -> Result<(), Failure> {
    for queue in [from, to] {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default()).await?;
    }
    let publish = |number| async move { publish(channel, from, body(number, asked.size).as_bytes()).await };
    let mut published =
        std::pin::pin!(futures_util::stream::iter(0..asked.messages).map(publish).buffer_unordered(AT_ONCE));
    while let Some(published) = published.next().await {
        published?;
    }
    Ok(())
}

/// Returns when the server has confirmed it.
async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<(), Failure> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let confirmed = channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await?;
    if confirmed.is_ack() { Ok(()) } else { Err("a message was not confirmed".into()) }
}

async fn count(channel: &Channel, queue: &str) -> Result<u64, Failure> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    Ok(queue.message_count().into())
}

async fn bare_loop(connection: &Connection, asked: &Asked, from: &str, to: &str) -> Result<f64, Failure> {
    let (reading, writing) = (connection.create_channel().await?, connection.create_channel().await?);
    writing.confirm_select(ConfirmSelectOptions::default()).await?;
    reading.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let consumer = reading.basic_consume(from.into(), "bench".into(), options, arguments).await?;
    let writing = &writing;
    let pass = |delivery: lapin::Result<Delivery>| async move {
        let delivery = delivery?;
        publish(writing, to, &delivery.data).await?;
        delivery.ack(BasicAckOptions::default()).await?;
        Ok::<_, Failure>(())
    };
    let began = Instant::now();
    let limit = usize::try_from(asked.messages)?;
    let mut passed = std::pin::pin!(consumer.take(limit).map(pass).buffer_unordered(AT_ONCE));
    while let Some(passed) = passed.next().await {
        passed?;
        if began.elapsed() > RUN_MAX {
            return Err("the bare loop took too long".into());
        }
    }
    let rate = asked.messages as f64 / began.elapsed().as_secs_f64();
    reading.close(200, "done".into()).await?;
    Ok(rate)
}
