//! Reads the files of a project, within limits.
//!
//! A project is `eventyard.toml` and `rules/*.toml`, not deeper; names that begin with a dot (editors leave such
//! files) are no part of it. A symbolic link to a file is read like the file. Anything that is no readable text
//! of a sane size is an error with a code of its own, and the other files are read all the same.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventyard_rules::{Diagnostic, Report};

use super::codes;

/// The file that makes a folder a project.
pub const MAIN_FILE: &str = "eventyard.toml";

/// The folder of the rules files.
pub const RULES_FOLDER: &str = "rules";

/// The most bytes of one file. A rules file of a hundred thousand rules has about this much.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The most bytes of all files together: they are in memory while a project loads.
pub const PROJECT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The most rules files.
pub const FILES_MAX: usize = 10_000;

/// The texts of a project's files, by their path within the folder: `eventyard.toml` first, then the rules files
/// in the order of their names.
pub type Files = Vec<(String, String)>;

/// The text of one of the files.
#[must_use]
pub fn text_of<'f>(files: &'f Files, path: &str) -> Option<&'f str> {
    files.iter().find(|(known, _)| known == path).map(|(_, text)| text.as_str())
}

/// Reads all files of a project, as far as that is possible.
///
/// # Errors
/// One diagnostic for each file that cannot be read.
pub fn read_folder(folder: &Path) -> Result<Files, Report> {
    let (files, report) = read_what_can_be_read(folder);
    if report.has_errors() { Err(report) } else { Ok(files) }
}

/// The files that can be read, and what is wrong with the others.
pub(super) fn read_what_can_be_read(folder: &Path) -> (Files, Report) {
    let mut report = Report::new();
    let mut files = Files::new();
    let main: Arc<str> = Arc::from(MAIN_FILE);
    match fs::symlink_metadata(folder.join(MAIN_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let found = Diagnostic::error(codes::NO_PROJECT, &main, format!("there is no {MAIN_FILE} here"))
                .with_help("eventyard init makes a project; or name its folder: eventyard run DIR");
            report.push(found);
        }
        _ => read_one(folder, &main, &mut files, &mut report),
    }
    let paths = match rules_paths(folder) {
        Ok(paths) => paths,
        Err(diagnostic) => {
            report.push(*diagnostic);
            Vec::new()
        }
    };
    if paths.len() > FILES_MAX {
        let rules: Arc<str> = Arc::from(RULES_FOLDER);
        let message = format!("{} rules files are over the limit FILES_MAX of {FILES_MAX}", paths.len());
        report
            .push(Diagnostic::error(codes::FILES_TOO_MANY, &rules, message).with_help("put more rules into one file"));
        return (files, report);
    }
    let mut bytes_sum = 0_u64;
    for path in paths {
        let before = files.len();
        read_one(folder, &path, &mut files, &mut report);
        let read = files.iter().skip(before).map(|(_, text)| u64::try_from(text.len()).unwrap_or(u64::MAX));
        bytes_sum += read.sum::<u64>();
        if bytes_sum > PROJECT_BYTES_MAX {
            break;
        }
    }
    if bytes_sum > PROJECT_BYTES_MAX {
        let message =
            format!("the files have more than the limit PROJECT_BYTES_MAX of {PROJECT_BYTES_MAX} bytes together");
        report.push(Diagnostic::error(codes::FILES_TOO_MANY, &main, message));
    }
    (files, report)
}

/// `rules/*.toml`, sorted.
fn rules_paths(folder: &Path) -> Result<Vec<Arc<str>>, Box<Diagnostic>> {
    let rules: Arc<str> = Arc::from(RULES_FOLDER);
    let unreadable = |error: &io::Error| Box::new(file_error(&rules, error));
    let entries = match fs::read_dir(folder.join(RULES_FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let found = Diagnostic::error(codes::FILE_IS_NO_FILE, &rules, "`rules` is a file, not a folder");
            return Err(Box::new(found.with_help("make it a folder, and put the rules into rules/NAME.toml")));
        }
        Err(error) => return Err(unreadable(&error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| unreadable(&error))?.file_name();
        // A name that is no UTF-8 is shown and opened by its readable part, and fails there, rather than be
        // passed over in silence.
        let name = name.to_string_lossy();
        if is_rules_file(Path::new(&*name)) {
            paths.push(Arc::from(format!("{RULES_FOLDER}/{name}")));
        }
        // One more than the limit says that the limit is met.
        if paths.len() > FILES_MAX {
            break;
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether a file of this name in the folder of rules is one of them: editors leave others there.
pub(crate) fn is_rules_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".toml") && !name.starts_with('.')
}

fn read_one(folder: &Path, path: &Arc<str>, files: &mut Files, report: &mut Report) {
    match read_file(&folder.join(&**path), path) {
        Ok(text) => {
            report.add_source(path, &text);
            files.push((path.to_string(), text));
        }
        Err(diagnostic) => report.push(*diagnostic),
    }
}

fn read_file(full: &Path, path: &Arc<str>) -> Result<String, Box<Diagnostic>> {
    let refuse = |code, message: String, help: &str| Box::new(Diagnostic::error(code, path, message).with_help(help));
    // Looked at before it is opened: opening a pipe would wait for somebody to write.
    let metadata = fs::metadata(full).map_err(|error| Box::new(file_error(path, &error)))?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a folder" } else { "a pipe, a socket or a device" };
        return Err(refuse(
            codes::FILE_IS_NO_FILE,
            format!("this is {what}, not a file"),
            "rename it, or move it away",
        ));
    }
    let too_large = || {
        let message = format!("the file is over the limit FILE_BYTES_MAX of {FILE_BYTES_MAX} bytes");
        refuse(codes::FILE_TOO_LARGE, message, "make several files of it")
    };
    if metadata.len() > FILE_BYTES_MAX {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    fs::File::open(full)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| Box::new(file_error(path, &error)))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(too_large());
    }
    if bytes.iter().all(u8::is_ascii_whitespace) && &**path != MAIN_FILE {
        let help = "delete the file if its rules are to go; a file that holds but a comment is read as no rules";
        return Err(refuse(codes::FILE_EMPTY, "the rules file is empty".to_owned(), help));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("the file is not UTF-8 text: byte {at} begins no character");
        refuse(codes::FILE_NOT_UTF8, message, "save it as UTF-8")
    })
}

/// What the system says about a file.
fn file_error(path: &Arc<str>, error: &io::Error) -> Diagnostic {
    if error.raw_os_error() == Some(LINK_LOOP) {
        return Diagnostic::error(codes::FILE_LINK_LOOP, path, "the symbolic link leads to itself")
            .with_help("point it at a file, or delete it");
    }
    let help = match error.kind() {
        io::ErrorKind::NotFound => "the symbolic link leads nowhere; mend or delete it",
        io::ErrorKind::PermissionDenied => "let the user that eventyard runs as read it",
        _ => "see to the disk or to the file system",
    };
    Diagnostic::error(codes::FILE_UNREADABLE, path, format!("the file cannot be read: {error}")).with_help(help)
}

/// `ELOOP`; the standard library has no stable word for it.
const LINK_LOOP: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };

/// The text of a small file that the project names (a secret, a test's event), by its path relative to the
/// project folder.
///
/// # Errors
/// Why it cannot be had, in words; never what stands in it.
pub(super) fn read_named(folder: &Path, path: &str, bytes_max: u64) -> Result<Option<String>, String> {
    let Some(bytes) = read_named_bytes(folder, path, bytes_max)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// The bytes of a file that the project names, by its path relative to the project folder.
///
/// # Errors
/// As [`read_named`].
pub(super) fn read_named_bytes(folder: &Path, path: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, String> {
    let full: PathBuf = folder.join(path);
    let metadata = match fs::metadata(&full) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    fs::File::open(&full)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(format!("it is larger than {bytes_max} bytes"));
    }
    Ok(Some(bytes))
}
