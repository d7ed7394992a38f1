//! The copy of the last good project in the data folder.
//!
//! A project that does not load changes nothing while the broker runs: the one in force stays. For a restart to
//! keep that promise, the files of each project that came into force are kept in the data folder, as they were
//! written (references to secrets unresolved, and without those that stand in the files themselves: [`hidden`]),
//! in one file that only its owner can read; the files of WebAssembly functions are kept beside it. It is replaced whole: written beside, synced, renamed, and the folder
//! synced.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventyard_event::Timestamp;
use eventyard_functions::{WasmHost, WasmLimits, WasmProgram};
use eventyard_rules::Report;
use eventyard_rules::reader::{Document, Reading};
use serde::{Deserialize, Serialize};
use sha2::Digest;

use self::hidden::KeptFile;
use super::folder::{FILE_BYTES_MAX, Files, MAIN_FILE, PROJECT_BYTES_MAX, read_named, read_named_bytes};
use super::load::{Surroundings, load_kept};
use super::project::{Env, Project, Runtime};
use super::server::read_store;
use super::{codes, resolve};

mod hidden;

/// The copy's name in the data folder.
pub const FILE: &str = "last-good.json";

/// The folder of the packages' copies in the data folder, each named by its digest.
const PACKAGES: &str = "last-good-packages";

/// The form of the copy. A newer one is refused rather than half understood.
const VERSION: u32 = 1;

/// JSON needs at most six bytes for one of text.
const COPY_BYTES_MAX: u64 = PROJECT_BYTES_MAX * 6;

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    sum: String,
    files: Vec<KeptFile>,
    /// Copies written before there were any have none; an older version does not look at it.
    #[serde(default)]
    packages: Vec<KeptPackage>,
}

/// A function's file, of which there is a copy. Its content is held by its digest; nothing else needs to be.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
struct KeptPackage {
    /// As the project writes it.
    path: String,
    /// Hexadecimal.
    sha256: String,
}

/// Keeps a project's files in the data folder, whichever that is now. Nothing is written where the same ones are
/// kept already.
///
/// # Errors
/// What the system says; the copy that was there before is then still there, whole.
pub fn keep(data: &Path, project: &Project) -> io::Result<()> {
    let files: Vec<KeptFile> = project.files.iter().map(|(path, text)| KeptFile::new(path, text)).collect();
    let packages =
        programs(project).map(|(path, program)| KeptPackage { path: path.to_owned(), sha256: hex(program.digest()) });
    let packages: Vec<KeptPackage> = packages.collect();
    if read(data).is_ok_and(|kept| kept.is_some_and(|kept| kept.files == files && kept.packages == packages)) {
        return Ok(());
    }
    fs::create_dir_all(data)?;
    keep_packages(data, project)?;
    let beside = data.join(format!("{FILE}.new"));
    // A leftover of a stop in between may have other permissions.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let copy = Kept { version: VERSION, sum: sum(&files), files, packages };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec(&copy)?)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, data.join(FILE))?;
    fs::File::open(data)?.sync_all()?;
    forget_packages(data, &copy.packages);
    Ok(())
}

/// The compiled packages of a project, by their paths.
fn programs(project: &Project) -> impl Iterator<Item = (&str, &WasmProgram)> {
    project.functions.iter().filter_map(|function| match &function.runtime {
        Runtime::Wasm(wasm) => Some((wasm.package.as_str(), wasm.program.as_ref()?)),
        Runtime::Command(_) => None,
    })
}

/// Copies the files of functions, so that one that is replaced by something broken is there for a restart.
fn keep_packages(data: &Path, project: &Project) -> io::Result<()> {
    let folder = data.join(PACKAGES);
    for (path, program) in programs(project) {
        let copy = folder.join(hex(program.digest()));
        if copy.exists() {
            continue;
        }
        fs::create_dir_all(&folder)?;
        let bytes_max = u64::try_from(WasmLimits::default().module_bytes_max).unwrap_or(u64::MAX);
        let bytes = read_named_bytes(&project.folder, path, bytes_max).map_err(io::Error::other)?.unwrap_or_default();
        if *program.digest() != <[u8; 32]>::from(sha2::Sha256::digest(&bytes)) {
            return Err(io::Error::other(format!("{path} was changed meanwhile")));
        }
        let beside = copy.with_extension("new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &copy)?;
        fs::File::open(&folder)?.sync_all()?;
    }
    Ok(())
}

/// Deletes the copies that are no longer of use. One that stays costs room alone.
fn forget_packages(data: &Path, packages: &[KeptPackage]) {
    for entry in fs::read_dir(data.join(PACKAGES)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !packages.iter().any(|package| name == package.sha256.as_str()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files that are kept; `None` where there are none.
///
/// # Errors
/// What is wrong with the copy, in words.
fn read(data: &Path) -> Result<Option<Kept>, String> {
    let Some(text) = read_named(data, FILE, COPY_BYTES_MAX)? else { return Ok(None) };
    let kept: Kept = serde_json::from_str(&text).map_err(|error| format!("it is damaged: {error}"))?;
    if kept.version != VERSION {
        return Err(format!("it has the form {}, and this version reads {VERSION}", kept.version));
    }
    if sum(&kept.files) != kept.sum {
        return Err("it is damaged: its sum does not fit".to_owned());
    }
    Ok(Some(kept))
}

/// The last good project of a folder whose own files do not load, with its warnings; `None` where there is none, or
/// none that loads now (the log then says why). `data` is the data folder, where it is not the one that the folder's
/// `eventyard.toml` names.
#[must_use]
pub fn load(folder: &Path, data: Option<&Path>, env: &Env) -> Option<(Project, Report)> {
    load_with(folder, data, env, &WasmHost::new(None))
}

/// The same, for a project that is to run: its modules are compiled by a host that goes on living.
#[must_use]
pub fn load_with(folder: &Path, data: Option<&Path>, env: &Env, wasm: &WasmHost) -> Option<(Project, Report)> {
    let data = data.map_or_else(|| data_folder(folder, env), Path::to_owned);
    let read =
        read(&data).and_then(|kept| kept.map(|kept| Ok((fill(folder, &kept.files)?, kept.packages))).transpose());
    let (files, packages) = match read {
        Ok(kept) => kept?,
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
    let copy = |path: &str| {
        let package = packages.iter().find(|package| package.path == path)?;
        // Another spelling than a digest's is no name of ours.
        let named = package.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let copy = data.join(PACKAGES).join(&package.sha256);
        named.then(|| std::path::absolute(&copy).unwrap_or(copy))
    };
    match load_kept(folder, files, &Surroundings { env, now: Timestamp::EPOCH }, wasm, &copy) {
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
    hex(&sum.finalize())
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
