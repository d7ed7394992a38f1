//! Promises about projects: what loads, what does not, and what is said about it.

mod doubtful;

mod goldens;

mod hostile;

mod kept;

mod reply;

mod sound;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use eventyard_event::Timestamp;
use eventyard_rules::Report;

use super::{Project, Surroundings, load_at};

/// A project folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    folder
}

fn write(folder: &Path, path: &str, text: &str) {
    let full = folder.join(path);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    fs::write(full, text).unwrap();
}

/// Loads a folder with an environment of these variables alone.
fn load_with(folder: &Path, env: &[(&str, &str)]) -> Result<(Project, Report), Report> {
    let env: BTreeMap<String, String> =
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let env = move |name: &str| env.get(name).cloned();
    load_at(folder, &Surroundings { env: &env, now: Timestamp::from_millis(1_800_000_000_000) })
}

fn load(folder: &Path) -> Result<(Project, Report), Report> {
    load_with(folder, &[("PATH", "/usr/bin:/bin")])
}

/// Loads a project of these files that must not load.
fn refused(files: &[(&str, &str)]) -> Report {
    load(folder(files).path()).expect_err("the project must not load")
}

/// Loads a project of these files that must load.
fn loaded(files: &[(&str, &str)]) -> Project {
    match load(folder(files).path()) {
        Ok((project, _)) => project,
        Err(report) => panic!("{report}"),
    }
}

/// The codes of a report, in its order.
fn codes(report: &Report) -> Vec<&'static str> {
    report.diagnostics().iter().map(|found| found.code).collect()
}
