//! Appends lines, and syncs before it says so.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use eventyard_event::{Timestamp, json};
use serde_json::Value;

use super::config::FileConfig;
use crate::gather::{Gatherer, SendBatch};
use crate::sink::{PayloadForm, SendError, SendRequest, Sent, Sink};
use crate::spec::{ConfigError, read_checked};

/// How many sends at once: they wait for one another's sync.
const SENDS_MAX: usize = 512;
/// How many files may be begun in one millisecond before that is an error.
const SAME_NAMES_MAX: u32 = 1000;

/// Appends to files.
pub struct FileSink {
    gatherer: Gatherer<Files>,
}

/// Where lines go.
struct Files {
    config: FileConfig,
    /// A std Mutex: taken on a thread that may block, never held over an await.
    current: Arc<Mutex<Option<Current>>>,
}

struct Current {
    file: File,
    path: PathBuf,
    bytes: u64,
    began_at: Timestamp,
}

impl FileSink {
    /// # Errors
    /// What the table's shape cannot say.
    pub fn build(value: &Value) -> Result<FileSink, Vec<ConfigError>> {
        let config: FileConfig = read_checked(value)?;
        if config.prefix.contains(['/', '\\', '\0']) {
            let message = "the beginning of a file's name has no slashes";
            return Err(vec![ConfigError::at("prefix", "bad_value", message)]);
        }
        let batch = config.batch;
        Ok(FileSink { gatherer: Gatherer::new(Arc::new(Files { config, current: Arc::default() }), batch) })
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        self.gatherer.send(request).await
    }

    fn concurrency(&self) -> Option<usize> {
        Some(SENDS_MAX)
    }

    async fn close(&self) {
        self.gatherer.flush();
    }
}

#[async_trait]
impl SendBatch for Files {
    async fn send_batch(&self, requests: &[SendRequest]) -> Vec<Result<Sent, SendError>> {
        let mut lines = Vec::new();
        requests.iter().for_each(|request| put_line(&mut lines, request));
        let Some(at) = requests.iter().map(|request| request.at).max() else { return Vec::new() };
        let (config, current) = (self.config.clone(), Arc::clone(&self.current));
        let written = tokio::task::spawn_blocking(move || {
            append(&config, &mut current.lock().unwrap_or_else(PoisonError::into_inner), &lines, at)
        });
        let result = match written.await {
            Ok(Ok(path)) => {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                Ok(Sent { code: "appended".into(), response_head: name, ..Sent::default() })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(SendError::retryable("interrupted", "the lines were not written to their end")),
        };
        requests.iter().map(|_| result.clone()).collect()
    }
}

fn put_line(lines: &mut Vec<u8>, request: &SendRequest) {
    let start = lines.len();
    match request.payload.form {
        PayloadForm::Shaped => lines.extend_from_slice(&request.payload.body),
        PayloadForm::Structured | PayloadForm::Raw => lines.extend(json::write_structured(&request.event.event)),
    }
    // Line feeds stand between the tokens of JSON alone: within a string they are escaped.
    lines.iter_mut().skip(start).filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    lines.push(b'\n');
}

/// Writes lines to the current file, or to a new one, and syncs. After a failure there is no current file.
fn append(
    config: &FileConfig,
    current: &mut Option<Current>,
    lines: &[u8],
    at: Timestamp,
) -> Result<PathBuf, SendError> {
    let goes_on = |current: &Current| {
        let young = at.since(current.began_at) < Duration::from_millis(config.max_age_ms);
        // What is written to a file that somebody has deleted is nowhere.
        current.bytes < config.max_size && young && current.file.metadata().is_ok_and(|known| known.nlink() > 0)
    };
    let mut open = match current.take().filter(goes_on) {
        Some(open) => open,
        None => begin(config, at)?,
    };
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| failed(&path, &error)
    };
    open.file.write_all(lines).map_err(fail(&open.path))?;
    open.file.sync_data().map_err(fail(&open.path))?;
    open.bytes = open.bytes.saturating_add(lines.len() as u64);
    let path = open.path.clone();
    *current = Some(open);
    Ok(path)
}

/// A new file, that is there after a power cut as well.
fn begin(config: &FileConfig, at: Timestamp) -> Result<Current, SendError> {
    let folder = Path::new(&config.folder);
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    // Nothing that a file's name may not have on another system.
    let time = at.to_string().replace(':', "");
    for number in 0..SAME_NAMES_MAX {
        let path = folder.join(format!("{}-{time}-{number}.jsonl", config.prefix));
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Ok(file) => {
                File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, &error))?;
                return Ok(Current { file, path, bytes: 0, began_at: at });
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&path, &error)),
        }
    }
    Err(SendError::retryable("file_io", format!("{SAME_NAMES_MAX} files of this time are there already")))
}

fn failed(path: &Path, error: &std::io::Error) -> SendError {
    let code = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => "file_full",
        _ => "file_io",
    };
    SendError::retryable(code, format!("{}: {error}", path.display()))
}
