//! `[source.NAME] kind = "s3"`: which of its three ways it goes, and the one that lists.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use eventyard_event::{Clock, Name};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::change::{Change, Maker};
use super::client::Bucket;
use super::failure::Failure;
use super::guard::mark;
use super::heads;
use super::listed::{self, Found};
use super::objects::S3Objects;
use super::reader::NotificationReader;
use super::seen::{self, Seen, Sight, Stage, Youngest};
use super::settings::SourceConfig;
use crate::http::{HttpSource, SOURCE_SPEC as HTTP};
use crate::source::{Batch, Seek, SeekError, Source, SourceContext, SourceError};
use crate::spec::{ConfigError, check_type, normalise, read_checked};

/// How long to wait between two listings where the project does not say.
const POLL_EVERY: Duration = Duration::from_secs(30);

/// The shortest pause between two listings: each costs a request for a thousand objects.
const POLL_EVERY_MIN: Duration = Duration::from_millis(100);

/// How many objects are asked for at once: the most that S3 gives. They are committed together.
const PAGE_OBJECTS_MAX: i32 = 1000;

/// How long one page of a listing may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// An s3 source as the project describes it.
pub struct S3Source {
    /// How it learns of changes.
    pub way: Way,
    /// Where the bytes of its objects are.
    pub objects: Arc<S3Objects>,
}

/// How an s3 source learns of changes.
pub enum Way {
    /// It lists the bucket.
    Polling(Box<PollingSource>),
    /// The store calls a path of the broker's server.
    Webhook {
        /// What decides about a request.
        http: Box<HttpSource>,
        /// What makes events of its body.
        reader: NotificationReader,
    },
    /// Another source takes the store's messages from a queue.
    From {
        /// That source.
        source: Name,
        /// What makes events of a message.
        reader: NotificationReader,
    },
}

impl S3Source {
    /// Makes the source `name` from its table (held against [`SOURCE_SPEC`](super::SOURCE_SPEC)); connects to nothing.
    ///
    /// # Errors
    /// Everything that will not do, each with the key it stands at.
    pub fn build(name: &Name, table: &Value) -> Result<S3Source, Vec<ConfigError>> {
        let bucket = Arc::new(Bucket::build(table)?);
        let config: SourceConfig = read_checked(table)?;
        check_type(config.ty.as_deref())?;
        let maker = Maker { name: name.clone(), ty: config.ty.clone(), mark: mark(name, &bucket, &config.prefix) };
        let objects = Arc::new(S3Objects::new(Arc::clone(&bucket)));
        let reader = |config: &SourceConfig| {
            NotificationReader::new(Arc::clone(&bucket), config.prefix.clone(), maker.clone(), config.loop_guard)
        };
        let way = match told_by(config.notifications.as_ref())? {
            ToldBy::Nobody => {
                refuse_given(&config, &["path", "auth_token", "verify"], "the bucket is listed, and nobody calls")?;
                Way::Polling(Box::new(PollingSource::new(bucket, config, maker)?))
            }
            ToldBy::Webhook => {
                refuse_given(
                    &config,
                    &["poll_every", "backfill"],
                    "the bucket is not listed: the store tells of changes",
                )?;
                Way::Webhook { http: Box::new(http_source(name, &config)?), reader: reader(&config) }
            }
            ToldBy::Source(source) if source == *name => {
                return Err(vec![ConfigError::at("notifications", "bad_value", "a source cannot take from itself")]);
            }
            ToldBy::Source(source) => {
                let keys = ["poll_every", "backfill", "path", "auth_token", "verify"];
                refuse_given(&config, &keys, "another source takes the store's messages")?;
                Way::From { source, reader: reader(&config) }
            }
        };
        Ok(S3Source { way, objects })
    }
}

enum ToldBy {
    Nobody,
    Webhook,
    Source(Name),
}

fn told_by(notifications: Option<&Value>) -> Result<ToldBy, Vec<ConfigError>> {
    let wrong = |message: &str| {
        let error = ConfigError::at("notifications", "bad_value", message.to_owned());
        vec![error.help("write \"webhook\" with a `path`, or { from = \"NAME\" } with the name of another source")]
    };
    match notifications {
        None => Ok(ToldBy::Nobody),
        Some(Value::String(word)) if word == "webhook" => Ok(ToldBy::Webhook),
        Some(Value::Object(table)) => match (table.len(), table.get("from").and_then(Value::as_str)) {
            (1, Some(from)) => match Name::new(from) {
                Ok(name) => Ok(ToldBy::Source(name)),
                Err(problem) => Err(wrong(&format!("`{}` is no name: {problem}", from.escape_default()))),
            },
            _ => Err(wrong("this table has the one key `from`")),
        },
        Some(_) => Err(wrong("this is neither")),
    }
}

/// Refuses keys that mean nothing in the way that the source goes.
fn refuse_given(config: &SourceConfig, keys: &[&str], why: &str) -> Result<(), Vec<ConfigError>> {
    let given = |key: &str| match key {
        "path" => config.path.is_some(),
        "auth_token" => config.auth_token.is_some(),
        "verify" => config.verify.is_some(),
        "poll_every" => config.poll_every_ms.is_some(),
        _ => config.backfill.is_some(),
    };
    let errors: Vec<ConfigError> = keys
        .iter()
        .filter(|key| given(key))
        .map(|key| ConfigError::at(key, "conflict", format!("`{key}` means nothing here: {why}")).help("leave it out"))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The path that the store calls is an http source's.
fn http_source(name: &Name, config: &SourceConfig) -> Result<HttpSource, Vec<ConfigError>> {
    let Some(path) = &config.path else {
        return Err(vec![ConfigError {
            path: Vec::new(),
            code: "missing_key",
            message: "`notifications = \"webhook\"` needs `path`".to_owned(),
            help: Some("write path = \"/hooks/NAME\", and give the store that address".to_owned()),
        }]);
    };
    let mut table = Map::new();
    table.insert("path".to_owned(), path.as_str().into());
    let mut verify = config.verify.clone();
    if let Some(tokens) = &config.auth_token {
        if verify.is_some() {
            let error = ConfigError::at("verify", "conflict", "`auth_token` says already how requests are verified");
            return Err(vec![error.help("leave out one of the two")]);
        }
        // MinIO sends one word as a bearer's token.
        let secrets: Vec<String> = tokens.iter().map(|token| format!("Bearer {}", token.expose())).collect();
        if tokens.iter().any(|token| token.expose().is_empty()) {
            let error = ConfigError::at("auth_token", "secret_empty", "an empty secret proves nothing");
            return Err(vec![error.help("where it comes from the environment, see that the variable is set")]);
        }
        verify = Some(json!({ "kind": "api_key", "header": "authorization", "secret": secrets }));
    }
    // What has no defaults of its own was held against its fields before, and is so again.
    let checked = normalise(HTTP.fields, &table)?;
    let mut checked = Value::Object(checked);
    if let Some(verify) = verify {
        checked["verify"] = verify;
    }
    HttpSource::build(name, &checked).map(|(source, _)| source)
}

/// Lists a bucket every so often and makes an event of each object that it has not seen.
pub struct PollingSource {
    bucket: Arc<Bucket>,
    prefix: String,
    maker: Maker,
    poll_every: Duration,
    backfill: bool,
    loop_guard: bool,
    identity: u64,
    watch: Option<Watch>,
}

/// One connection.
struct Watch {
    seen: Seen,
    listing: Option<Listing>,
    /// When the next listing begins.
    next_at: Instant,
    /// What is read first, where that is not what is new.
    first: Option<Taking>,
    clock: Clock,
}

impl Watch {
    fn from(stage: Stage, clock: Clock) -> Watch {
        let (seen, first) = match stage {
            Stage::Fresh => (Seen::default(), Some(Taking::None)),
            Stage::Watching(seen) => (seen, None),
            Stage::Backfill { began_millis, since, after } => {
                let whole = after.is_empty();
                (Seen::default(), Some(Taking::All { began_millis, since, after, whole }))
            }
        };
        Watch { seen, listing: None, next_at: Instant::now(), first, clock }
    }
}

/// What becomes of the objects that a listing finds.
#[derive(Clone, Debug)]
enum Taking {
    /// Those that were not seen before make events.
    New,
    /// None does: they lay there when the source began.
    None,
    /// All of them do, from this key on. `whole` where this program listed from the first key on.
    All { began_millis: i64, since: Option<i64>, after: String, whole: bool },
}

struct Listing {
    taking: Taking,
    youngest: Youngest,
    /// Where the next page begins, as the store said it.
    token: Option<String>,
    /// Whether something made an event, so that there is something to save at the end.
    took: bool,
}

impl PollingSource {
    fn new(bucket: Arc<Bucket>, config: SourceConfig, maker: Maker) -> Result<PollingSource, Vec<ConfigError>> {
        let poll_every = config.poll_every_ms.map_or(POLL_EVERY, Duration::from_millis);
        if poll_every < POLL_EVERY_MIN {
            let message = format!("a bucket is listed every {} ms at most", POLL_EVERY_MIN.as_millis());
            return Err(vec![ConfigError::at("poll_every", "out_of_range", message)]);
        }
        let identity = seen::identity(bucket.endpoint(), bucket.name(), &config.prefix);
        Ok(PollingSource {
            bucket,
            maker,
            poll_every,
            identity,
            prefix: config.prefix,
            backfill: config.backfill.unwrap_or(false),
            loop_guard: config.loop_guard,
            watch: None,
        })
    }

    fn position(&self, stage: &Stage) -> Option<Vec<u8>> {
        Some(seen::write(self.identity, stage))
    }

    /// The next page, as long as can be gone on behind.
    async fn page(&self, listing: &Listing) -> Result<ListObjectsV2Output, Failure> {
        let mut count_max = PAGE_OBJECTS_MAX;
        loop {
            let page = self.page_of(listing, count_max).await?;
            match listed::shorter(&page)? {
                None => return Ok(page),
                // Fewer each time: it ends.
                Some(fewer) => count_max = fewer.min(count_max - 1),
            }
        }
    }

    async fn page_of(&self, listing: &Listing, count_max: i32) -> Result<ListObjectsV2Output, Failure> {
        let client = self.bucket.client()?;
        let mut call = client
            .list_objects_v2()
            .bucket(self.bucket.name())
            .prefix(&self.prefix)
            .max_keys(count_max)
            // Keys may hold what XML cannot.
            .encoding_type(EncodingType::Url);
        match (&listing.token, &listing.taking) {
            (Some(token), _) => call = call.continuation_token(token),
            (None, Taking::All { after, .. }) if !after.is_empty() => call = call.start_after(after),
            _ => {}
        }
        let page = tokio::time::timeout(PAGE_TIMEOUT, call.send()).await;
        page.map_err(|_| Failure::timeout(PAGE_TIMEOUT))?.map_err(|error| Failure::of("ListObjectsV2", error))
    }

    /// One page further. `None` where it holds nothing to commit. What is remembered changes only where this returns, so
    /// that a call that is dropped is as if it had not been made.
    async fn step(&mut self) -> Result<Option<Batch>, Failure> {
        let not_connected = || Failure::passing("not_connected", "read before connect");
        let watch = self.watch.as_mut().ok_or_else(not_connected)?;
        let listing = watch.listing.get_or_insert_with(|| Listing {
            taking: watch.first.clone().unwrap_or(Taking::New),
            youngest: Youngest::default(),
            token: None,
            took: false,
        });
        let taking = listing.taking.clone();
        let watch = self.watch.as_ref().ok_or_else(not_connected)?;
        let listing = watch.listing.as_ref().ok_or_else(not_connected)?;
        let page = self.page(listing).await?;
        let found = listed::found(&self.bucket, &page);
        let wanted = |one: &&Found| match taking {
            Taking::New => watch.seen.is_new(one.sight),
            Taking::None => false,
            Taking::All { since, .. } => since.is_none_or(|since| one.sight.0 >= since),
        };
        let new: Vec<&Found> = found.iter().filter(wanted).collect();
        let sights: Vec<Sight> = new.iter().map(|one| one.sight).collect();
        let (doubtful, sure): (Vec<&Found>, Vec<&Found>) = new.into_iter().partition(|one| one.doubtful);
        let of = |found: Vec<&Found>| found.into_iter().map(|one| one.change.clone()).collect::<Vec<Change>>();
        let mut changes = of(sure);
        let mut undecodable = Vec::new();
        if !doubtful.is_empty() {
            let (there, letters) = listed::look_for(&self.bucket, of(doubtful)).await?;
            changes.extend(there);
            undecodable = letters;
        }
        if self.loop_guard && !changes.is_empty() {
            changes = heads::ask(&self.bucket, changes).await?;
        }
        let last_key = found.iter().rfind(|one| !one.doubtful).map(|one| one.change.key.clone());
        let token = page.next_continuation_token().filter(|_| page.is_truncated() == Some(true)).map(str::to_owned);
        let mut events = self.maker.events(&changes);
        if let Taking::All { since: Some(_), .. } = taking {
            // Somebody wants them again.
            events.iter_mut().for_each(|event| event.dedupe = None);
            undecodable.iter_mut().for_each(|letter| letter.dedupe = None);
        }

        // From here on nothing waits.
        let poll_every = self.poll_every;
        let watch = self.watch.as_mut().ok_or_else(not_connected)?;
        let mut listing = watch.listing.take().ok_or_else(not_connected)?;
        found.iter().for_each(|one| listing.youngest.add(one.sight));
        sights.iter().for_each(|sight| watch.seen.note(*sight));
        listing.took |= !sights.is_empty();
        let took = !sights.is_empty();
        if let Some(token) = token {
            listing.token = Some(token);
            if let (Taking::All { after, .. }, Some(key)) = (&mut listing.taking, last_key) {
                *after = key;
            }
            let stage = match &listing.taking {
                Taking::All { began_millis, since, after, .. } => {
                    Stage::Backfill { began_millis: *began_millis, since: *since, after: after.clone() }
                }
                Taking::New | Taking::None => Stage::Watching(watch.seen.clone()),
            };
            watch.listing = Some(listing);
            return Ok(took.then(|| Batch { events, undecodable, position: self.position(&stage) }));
        }
        let worth_saving = listing.took || !matches!(listing.taking, Taking::New);
        watch.seen = match listing.taking {
            Taking::All { began_millis, whole: false, .. } => listing.youngest.seen_since(began_millis),
            Taking::All { .. } | Taking::None => listing.youngest.seen(&Seen::default()),
            Taking::New => listing.youngest.seen(&watch.seen),
        };
        watch.first = None;
        watch.next_at = Instant::now() + poll_every;
        let stage = Stage::Watching(watch.seen.clone());
        Ok(worth_saving.then(|| Batch { events, undecodable, position: self.position(&stage) }))
    }
}

#[async_trait]
impl Source for PollingSource {
    async fn connect(&mut self, context: SourceContext) -> Result<(), SourceError> {
        let saved = context.position.as_deref().map(|bytes| seen::read(bytes, self.identity)).transpose();
        let saved = saved.map_err(|problem| SourceError::Failed {
            code: "position",
            message: format!("the source's saved position does not read: {problem}"),
        })?;
        let stage = saved.flatten().unwrap_or_else(|| {
            let began_millis = (context.clock)().as_millis();
            if self.backfill {
                Stage::Backfill { began_millis, since: None, after: String::new() }
            } else {
                Stage::Fresh
            }
        });
        self.bucket.client().map_err(Failure::of_source)?;
        self.watch = Some(Watch::from(stage, context.clock));
        Ok(())
    }

    fn has_begun(&self) -> bool {
        // What lies there when the first listing ends is not new.
        self.watch.as_ref().is_some_and(|watch| !matches!(watch.first, Some(Taking::None)))
    }

    async fn read(&mut self) -> Result<Batch, SourceError> {
        loop {
            if let Some(watch) = self.watch.as_ref().filter(|watch| watch.listing.is_none()) {
                tokio::time::sleep_until(watch.next_at).await;
            }
            if let Some(batch) = self.step().await.map_err(Failure::of_source)? {
                return Ok(batch);
            }
        }
    }

    async fn seek(&mut self, to: &Seek) -> Result<Option<Vec<u8>>, SeekError> {
        let not_connected =
            || SeekError::Failed { code: "not_connected", message: "the source is not connected".to_owned() };
        let clock = Arc::clone(&self.watch.as_ref().ok_or_else(not_connected)?.clock);
        let began_millis = clock().as_millis();
        let since = |millis| Stage::Backfill { began_millis, since: Some(millis), after: String::new() };
        let stage = match to {
            Seek::Earliest => since(i64::MIN),
            Seek::Time(at) => since(at.as_millis()),
            Seek::Latest => Stage::Fresh,
            Seek::Position(_) => {
                let message = "a bucket that is listed knows `earliest`, `latest` and times".to_owned();
                return Err(SeekError::BadPosition { message });
            }
        };
        let position = self.position(&stage);
        self.watch = Some(Watch::from(stage, clock));
        Ok(position)
    }

    async fn ack(&mut self) -> Result<(), SourceError> {
        // The position is in the frame of the events; the store on the other side keeps no account.
        Ok(())
    }

    async fn close(&mut self) {
        self.watch = None;
    }
}
