//! From JetStream by a rule, durably, to JetStream; beside a bare loop of the same client, which keeps nothing.
//!
//! ```text
//! bench/queue.sh nats [--server URL] [--messages N] [--size BYTES] [--rounds N] [--binary PATH] [--dir FOLDER]
//! ```
//!
//! The messages lie in a stream before the clock starts. The bare loop reads them by a durable pull consumer, publishes
//! each to another stream, as many at a time as eventyard's sink does, and acknowledges a message when the other stream
//! has confirmed it; eventyard does the same by a source, a rule that looks into the data, the journal, and a sink. The
//! clock runs from the first message to the last that the server has of the output; both in turns, and the ratio is that
//! of the medians. Both have the same server, which syncs as its configuration says.

use std::process::ExitCode;
use std::time::Instant;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, Context};
use futures_util::StreamExt;

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
const AT_ONCE: usize = 512;
/// How many messages the bare loop fetches ahead: what eventyard's source does.
const AHEAD: usize = 1000;
/// How many may be unacknowledged at the server: what eventyard's source asks for when it makes its consumer.
const ACK_PENDING: i64 = 4000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    passing::main("nats", "nats://127.0.0.1:4322", 50_000, run).await
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn run(asked: &Asked) -> Result<(), Failure> {
    println!("{}", machine::describe(&asked.dir));
    let context = jetstream::new(async_nats::connect(&asked.server).await?);
    let run = std::process::id();
    let from = format!("bench-{run}-in");
    create(&context, &from).await?;
    fill(&context, asked, &from).await?;
    println!("{} messages of {} bytes in a stream", asked.messages, asked.size);
    let mut rounds = Rounds::default();
    for round in 0..asked.rounds {
        let to = format!("bench-{run}-bare-{round}");
        create(&context, &to).await?;
        rounds.bare(bare_loop(&context, asked, &from, &to).await?);
        context.delete_stream(&to).await?;
        let to = format!("bench-{run}-out-{round}");
        create(&context, &to).await?;
        let stream = context.get_stream(&to).await?;
        let (server, subject) = (&asked.server, subject(&to));
        let source = format!("kind = \"nats\"\nservers = \"{server}\"\nstream = \"{from}\"\ndurable = \"{to}\"");
        let sink = format!("kind = \"nats\"\nservers = \"{server}\"\nsubject = \"{subject}\"");
        let written = async || Ok(stream.get_info().await?.state.messages);
        rounds.ours(asked, through_eventyard(asked, &source, &sink, written).await?);
        context.delete_stream(&to).await?;
    }
    context.delete_stream(&from).await?;
    rounds.end();
    Ok(())
}

async fn create(context: &Context, stream: &str) -> Result<(), Failure> {
    let config = Config {
        name: stream.to_owned(),
        subjects: vec![subject(stream)],
        storage: StorageType::File,
        ..Config::default()
    };
    context.create_stream(config).await?;
    Ok(())
}

fn subject(stream: &str) -> String {
    format!("{stream}.orders")
}

async fn fill(context: &Context, asked: &Asked, stream: &str) -> Result<(), Failure> {
    let publish = |number| {
        let (context, subject) = (context.clone(), subject(stream));
        async move {
            let published = context.publish(subject, body(number, asked.size).into()).await?;
            published.await?;
            Ok::<_, Failure>(())
        }
    };
    let mut published =
        std::pin::pin!(futures_util::stream::iter(0..asked.messages).map(publish).buffer_unordered(AT_ONCE));
    while let Some(published) = published.next().await {
        published?;
    }
    Ok(())
}

async fn bare_loop(context: &Context, asked: &Asked, from: &str, to: &str) -> Result<f64, Failure> {
    let config = pull::Config {
        durable_name: Some(to.to_owned()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: ACK_PENDING,
        ..pull::Config::default()
    };
    let consumer = context.get_stream(from).await?.create_consumer(config).await?;
    let messages = consumer.stream().max_messages_per_batch(AHEAD).messages().await?;
    let limit = usize::try_from(asked.messages)?;
    let pass = |message: Result<jetstream::Message, pull::MessagesError>| {
        let (context, subject) = (context.clone(), subject(to));
        async move {
            let message = message?;
            let published = context.publish(subject, message.payload.clone()).await?;
            published.await?;
            message.ack().await.map_err(|error| error.to_string())?;
            Ok::<_, Failure>(())
        }
    };
    let began = Instant::now();
    let mut passed = std::pin::pin!(messages.take(limit).map(pass).buffer_unordered(AT_ONCE));
    while let Some(passed) = passed.next().await {
        passed?;
        if began.elapsed() > RUN_MAX {
            return Err("the bare loop took too long".into());
        }
    }
    Ok(asked.messages as f64 / began.elapsed().as_secs_f64())
}
