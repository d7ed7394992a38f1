//! Durable commits by many writers, through the store itself.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use eventyard_event::{Data, Envelope, Event, EventId, Name, Text, Timestamp, format_text};
use eventyard_store::{Admission, Commit, Dedupe, LocalStore, NewDelivery, Options, QueueKey, Store, StoreError};
use tokio::runtime::Runtime;

use crate::spread::percentile;
use crate::{Failure, lives, machine};

/// Bytes of an event's data.
const DATA_BYTES: usize = 1024;

/// What such an event takes in the journal with its envelope, its delivery and the frame's header; what
/// `phys` writes for each event. `enq` and `both` measure it.
pub(crate) const FRAME_BYTES: usize = 1256;

/// How much journal is made ahead for each second: more than has been seen.
const AHEAD_BYTES_PER_SECOND: f64 = 450e6;

/// When the events were taken: any time will do.
const BEGUN_AT: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// How long a repeat is recognised, as with a source that says nothing else.
const DEDUPE_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// What goes on beside the commits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Nothing: segments are made before the clock starts, and no checkpoint is written.
    Ahead,
    /// Everything that the broker does: segments are made and checkpoints written meanwhile.
    Whole,
}

impl How {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            How::Ahead => "segments made ahead, no checkpoints",
            How::Whole => "segments and checkpoints made meanwhile",
        }
    }
}

/// What each writer does over and over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Commits one event.
    Commits,
    /// Commits some events at once, and takes, begins and settles as many deliveries.
    Lives,
}

/// An open store with its writers' runtime.
pub(crate) struct Bench {
    store: LocalStore,
    runtime: Runtime,
    dir: PathBuf,
    how: How,
    doing: Doing,
    writers: usize,
    begun: Instant,
    next_number: Arc<AtomicU64>,
    /// The journal's length when everything was made ahead.
    made_bytes: u64,
}

/// What one round gave.
pub(crate) struct Found {
    events: u64,
    time: Duration,
    processor_us: f64,
    /// Events in one sync, on average.
    pub(crate) batch: f64,
    pub(crate) p50_us: u32,
    pub(crate) p99_us: u32,
}

impl Found {
    /// Of an event, in all threads.
    pub(crate) fn processor_us(&self) -> f64 {
        self.processor_us / self.events as f64
    }

    pub(crate) fn events_per_second(&self) -> f64 {
        self.events as f64 / self.time.as_secs_f64()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.0} events/s, p50 {} µs, p99 {} µs, {:.1} events a sync, {:.1} µs of processor an event",
            self.events_per_second(),
            self.p50_us,
            self.p99_us,
            self.batch,
            self.processor_us()
        )
    }
}

impl Bench {
    /// Opens a new store in a folder of its own within `dir`.
    pub(crate) fn open(dir: &Path, how: How, doing: Doing, writers: usize, seconds: f64) -> Result<Bench, Failure> {
        let dir = dir.join(format!("store-bench-{}", std::process::id()));
        let defaults = Options::default();
        let options = match how {
            How::Whole => defaults,
            How::Ahead => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some dozens")]
                let segments_ahead = (seconds * AHEAD_BYTES_PER_SECOND / defaults.segment_bytes as f64) as usize + 1;
                let hour = Duration::from_secs(3600);
                Options { segments_ahead, checkpoint_bytes: u64::MAX, checkpoint_every: hour, ..defaults }
            }
        };
        let made_bytes =
            options.first_segment_bytes as u64 + (options.segments_ahead + 2) as u64 * options.segment_bytes as u64;
        let (store, _) = LocalStore::open(&dir, options, Arc::new(|| BEGUN_AT))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let next_number = Arc::new(AtomicU64::new(0));
        let bench = Bench { store, runtime, dir, how, doing, writers, begun: Instant::now(), next_number, made_bytes };
        bench.runtime.block_on(async {
            while bench.store.stats().journal_bytes < made_bytes {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Ok(bench)
    }

    /// What one commit writes, by what the kernel counts.
    pub(crate) fn measure_frame_bytes(&self) -> Result<usize, Failure> {
        const COMMITS: u64 = 200;
        let before = machine::written_bytes();
        self.runtime.block_on(async {
            for _ in 0..COMMITS {
                commit_one(&self.store, &template(), self.next_number.fetch_add(1, Ordering::Relaxed), self.begun)
                    .await?;
            }
            Ok::<(), StoreError>(())
        })?;
        Ok(usize::try_from((machine::written_bytes() - before) / COMMITS)?)
    }

    /// Lets all writers work for so long, each one turn after the other.
    pub(crate) fn measure(&self, seconds: f64) -> Result<Found, Failure> {
        let before = self.store.stats();
        let processor = machine::processor_seconds();
        let begun = Instant::now();
        let end = begun + Duration::from_secs_f64(seconds);
        let mut took = self.runtime.block_on(async {
            let writers: Vec<_> = (0..self.writers).map(|_| tokio::spawn(self.writer(end))).collect();
            let mut took = Vec::new();
            for writer in writers {
                took.append(&mut writer.await??);
            }
            Ok::<_, Failure>(took)
        })?;
        let time = begun.elapsed();
        let processor_us = (machine::processor_seconds() - processor) * 1e6;
        let after = self.store.stats();
        took.sort_unstable();
        Ok(Found {
            events: after.events - before.events,
            time,
            processor_us,
            batch: (after.frames - before.frames) as f64 / (after.syncs - before.syncs).max(1) as f64,
            p50_us: percentile(&took, 0.50),
            p99_us: percentile(&took, 0.99),
        })
    }

    /// One writer: how many microseconds each of its turns took.
    fn writer(&self, end: Instant) -> impl Future<Output = Result<Vec<u32>, StoreError>> + Send + 'static {
        let (store, next, begun) = (self.store.clone(), Arc::clone(&self.next_number), self.begun);
        let doing = self.doing;
        async move {
            let template = template();
            let mut took = Vec::new();
            let mut now = Instant::now();
            while now < end {
                match doing {
                    Doing::Commits => {
                        commit_one(&store, &template, next.fetch_add(1, Ordering::Relaxed), begun).await?;
                    }
                    Doing::Lives => {
                        let first = next.fetch_add(lives::EVENTS, Ordering::Relaxed);
                        let numbers = first..first + lives::EVENTS;
                        lives::live(&store, numbers.map(|number| admission(&template, number, begun)).collect())
                            .await?;
                    }
                }
                let after = Instant::now();
                took.push(u32::try_from((after - now).as_micros()).unwrap_or(u32::MAX));
                now = after;
            }
            Ok(took)
        }
    }

    /// How many segments were made after the clock had started, where that was to be none.
    pub(crate) fn made_meanwhile(&self) -> Option<u64> {
        let made = self.store.stats().journal_bytes.saturating_sub(self.made_bytes);
        let segment = Options::default().segment_bytes as u64;
        (self.how == How::Ahead && made > 0).then(|| made.div_ceil(segment))
    }

    /// Closes the store and removes its files.
    pub(crate) fn close(self) -> Result<(), Failure> {
        let Bench { store, runtime, dir, .. } = self;
        drop(store);
        drop(runtime);
        std::fs::remove_dir_all(dir)?;
        Ok(())
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name of this program is a name")
}

pub(crate) fn queue() -> QueueKey {
    QueueKey { namespace: Name::default_namespace(), rule: Some(name("orders")), target: name("ship") }
}

/// An event as an HTTP source hands it to the store.
fn template() -> Admission {
    let mut data = br#"{"order":"#.to_vec();
    data.push(b'"');
    data.resize(DATA_BYTES - 2, b'7');
    data.extend_from_slice(b"\"}");
    let envelope = Envelope {
        id: EventId::new(BEGUN_AT, [0; 10]),
        namespace: Name::default_namespace(),
        source_name: name("shop"),
        tags: Vec::new(),
        received_at: BEGUN_AT,
        hop_count: 0,
        keys_unique: true,
        event: Event {
            id: Text::default(),
            source: "/sources/shop".into(),
            ty: "order.created".into(),
            datacontenttype: Some("application/json".into()),
            data: Data::Json(Bytes::from(data)),
            ..Event::default()
        },
    };
    let queue = queue().into();
    let delivery = NewDelivery { queue, lane: None, due_at: BEGUN_AT, snapshot: [7; 16], split: None };
    Admission {
        envelope: envelope.into(),
        deliveries: vec![delivery],
        dedupe: Some(Dedupe { window: DEDUPE_WINDOW }),
        dead: None,
    }
}

async fn commit_one(store: &LocalStore, template: &Admission, number: u64, begun: Instant) -> Result<(), StoreError> {
    store.commit(Commit { admissions: vec![admission(template, number, begun)], position: None }).await?;
    Ok(())
}

fn admission(template: &Admission, number: u64, begun: Instant) -> Admission {
    let mut admission = template.clone();
    let received_at = BEGUN_AT.plus(begun.elapsed());
    let mut random = [0; 10];
    // As spread as random numbers are, and never the same twice: multiplication by an odd number is a bijection.
    random[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let envelope = std::sync::Arc::make_mut(&mut admission.envelope);
    envelope.id = EventId::new(received_at, random);
    envelope.received_at = received_at;
    envelope.event.id = format_text!("order-{number}");
    for delivery in &mut admission.deliveries {
        delivery.due_at = received_at;
    }
    admission
}
