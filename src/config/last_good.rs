//! The copy of the last good project in the data folder.
//!
//! A project that does not load changes nothing while the broker runs: the one in force stays. For a restart to
//! keep that promise, the files of each project that came into force are kept in the data folder, as they were
//! written (references to secrets unresolved, and without those that stand in the files themselves: [`hidden`]),
//! in one file that only its owner can read. It is replaced whole: written beside, synced, renamed, and the folder
//! synced.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventyard_event::Timestamp;
use eventyard_rules::Report;
use eventyard_rules::reader::{Document, Reading};
use serde::{Deserialize, Serialize};
use sha2::Digest;

use self::hidden::KeptFile;
use super::folder::{FILE_BYTES_MAX, Files, MAIN_FILE, PROJECT_BYTES_MAX, read_named};
use super::load::{Surroundings, load_files};
use super::project::{Env, Project};
use super::server::read_store;
use super::{codes, resolve};

mod hidden;

/// The copy's name in the data folder.
pub const FILE: &str = "last-good.json";

/// The form of the copy. A newer one is refused rather than half understood.
const VERSION: u32 = 1;

/// JSON needs at most six bytes for one of text.
const COPY_BYTES_MAX: u64 = PROJECT_BYTES_MAX * 6;

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    sum: String,
    files: Vec<KeptFile>,
}

/// Keeps a project's files in the data folder, whichever that is now. Nothing is written where the same ones are
/// kept already.
///
/// # Errors
/// What the system says; the copy that was there before is then still there, whole.
pub fn keep(data: &Path, project: &Project) -> io::Result<()> {
    let files: Vec<KeptFile> = project.files.iter().map(|(path, text)| KeptFile::new(path, text)).collect();
    if read(data).is_ok_and(|kept| kept.as_ref() == Some(&files)) {
        return Ok(());
    }
    fs::create_dir_all(data)?;
    let beside = data.join(format!("{FILE}.new"));
    // A leftover of a stop in between may have other permissions.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let copy = Kept { version: VERSION, sum: sum(&files), files };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec(&copy)?)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, data.join(FILE))?;
    fs::File::open(data)?.sync_all()
}

/// The files that are kept; `None` where there are none.
///
/// # Errors
/// What is wrong with the copy, in words.
fn read(data: &Path) -> Result<Option<Vec<KeptFile>>, String> {
    let Some(text) = read_named(data, FILE, COPY_BYTES_MAX)? else { return Ok(None) };
    let kept: Kept = serde_json::from_str(&text).map_err(|error| format!("it is damaged: {error}"))?;
    if kept.version != VERSION {
        return Err(format!("it has the form {}, and this version reads {VERSION}", kept.version));
    }
    if sum(&kept.files) != kept.sum {
        return Err("it is damaged: its sum does not fit".to_owned());
    }
    Ok(Some(kept.files))
}

/// The last good project of a folder whose own files do not load, with its warnings; `None` where there is none, or
/// none that loads now (the log then says why). `data` is the data folder, where it is not the one that the folder's
/// `eventyard.toml` names.
#[must_use]
pub fn load(folder: &Path, data: Option<&Path>, env: &Env) -> Option<(Project, Report)> {
    let data = data.map_or_else(|| data_folder(folder, env), Path::to_owned);
    let files = match read(&data).and_then(|kept| kept.map(|kept| fill(folder, &kept)).transpose()) {
        Ok(files) => files?,
        Err(problem) => {
            let file = data.join(FILE);
            tracing::error!(
                code = codes::LAST_GOOD_DAMAGED,
                file = %file.display(),
                "the copy of the last good project cannot be used: {problem}"
            );
            return None;
        }
    };
    match load_files(folder, files, &Surroundings { env, now: Timestamp::EPOCH }) {
        Ok(loaded) => Some(loaded),
        Err(report) => {
            tracing::error!(code = codes::LAST_GOOD_DAMAGED, "the last good project does not load either:\n{report}");
            None
        }
    }
}

/// The kept files with the secrets of the folder's present ones.
fn fill(folder: &Path, kept: &[KeptFile]) -> Result<Files, String> {
    let fill_one = |kept: &KeptFile| {
        let present = read_named(folder, &kept.path, FILE_BYTES_MAX).ok().flatten();
        let text = kept.filled(present.as_deref()).map_err(|key| {
            let path = &kept.path;
            format!("the secret `{key}` stood in {path} itself, so it was not kept, and stands there no more; write it as {{ env = … }} or {{ file = … }}")
        })?;
        Ok((kept.path.clone(), text))
    };
    kept.iter().map(fill_one).collect()
}

/// A sum over names and texts, to tell a damaged copy.
fn sum(files: &[KeptFile]) -> String {
    let mut sum = sha2::Sha256::new();
    for part in files.iter().flat_map(|kept| [&kept.path, &kept.text]) {
        sum.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        sum.update(part);
    }
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the data folder of a project is, as far as its main file can be read: a mistake elsewhere in it must not
/// hide what is kept there.
#[must_use]
pub fn data_folder(folder: &Path, env: &Env) -> PathBuf {
    let text = read_named(folder, MAIN_FILE, FILE_BYTES_MAX).ok().flatten().unwrap_or_default();
    let document = Document::parse(&text);
    let resolve = |reference: eventyard_rules::reader::Reference<'_>| resolve::resolve(folder, env, reference);
    let file: Arc<str> = Arc::from(MAIN_FILE);
    let reading = Reading::new(&file, &document, &resolve);
    read_store(&reading.root(&document), folder).dir
}
