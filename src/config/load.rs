//! From the texts of a project's files to a checked project.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use eventyard_connectors::http::HttpClient;
use eventyard_event::{Name, Timestamp};
use eventyard_functions::WasmHost;
use eventyard_rules::file::{Host, ReadRule, read_retry, read_rules};
use eventyard_rules::reader::{Document, Reading, Reference, Table};
use eventyard_rules::{Place, Report, RetryOverrides, TestFailure};
use sha2::Digest;

use super::channels::read_channels;
use super::folder::{Files, MAIN_FILE, read_named, read_named_bytes, read_what_can_be_read, text_of};
use super::functions::{Package, PackageProblem, read_functions};
use super::project::{Env, Project};
use super::server::{read_limits, read_server, read_store};
use super::sinks::{read_http_target, read_sinks};
use super::sources::{ReadSource, read_sources};
use super::{check, keys, resolve};
use crate::payloads;

/// The most bytes of the event file of a test.
const EVENT_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The tables of `eventyard.toml` that no rules file has.
const MAIN_TABLES: [&str; 8] = ["server", "store", "limits", "defaults", "source", "function", "sink", "channel"];

/// What a project needs to know of the world around it.
pub struct Surroundings<'a> {
    /// The environment: the value of a variable, `None` where it is not set.
    pub env: &'a Env,
    /// The wall clock, for warnings about what lies in the past.
    pub now: Timestamp,
}

/// Reads and checks the project in a folder. With the project come the warnings, but for those about what lies in
/// the past ([`load_at`] knows the time).
///
/// # Errors
/// Every mistake of every file, and the warnings with them.
pub fn load(folder: &Path, env: &Env) -> Result<(Project, Report), Report> {
    load_at(folder, &Surroundings { env, now: Timestamp::EPOCH })
}

/// The same, with all warnings, as a report that can be rendered.
///
/// # Errors
/// As [`load`].
pub fn load_at(folder: &Path, around: &Surroundings<'_>) -> Result<(Project, Report), Report> {
    load_watched(folder, around, &WasmHost::new(None)).0
}

/// The same, and the files beyond the project's own that it names (secrets, tests' events, functions), whether it loads
/// or not: one of them may be what is missing, and what makes the next try succeed. `wasm` compiles functions, and goes
/// on living as long as they do.
pub fn load_watched(
    folder: &Path,
    around: &Surroundings<'_>,
    wasm: &WasmHost,
) -> (Result<(Project, Report), Report>, Vec<PathBuf>) {
    let (files, report) = read_what_can_be_read(folder);
    let asked = RefCell::default();
    let loaded = build(folder, files, report, &Given { around, wasm, tests: Tests::Run, kept: None }, &asked);
    (loaded, asked.into_inner().named_files())
}

/// As [`load_at`], without running the rules' tests: for whoever runs them himself ([`failing_tests`]).
///
/// # Errors
/// As [`load`].
pub fn load_to_test(folder: &Path, around: &Surroundings<'_>) -> Result<(Project, Report), Report> {
    let (files, report) = read_what_can_be_read(folder);
    let given = Given { around, wasm: &WasmHost::new(None), tests: Tests::Keep, kept: None };
    build(folder, files, report, &given, &RefCell::default())
}

/// The tests of a project's rules that do not come out as they say.
#[must_use]
pub fn failing_tests(project: &Project) -> Vec<TestFailure<'_>> {
    let tags_of = |name: &Name| {
        let source = project.sources.iter().find(|source| source.name == *name);
        source.map(|source| source.tags.clone()).unwrap_or_default()
    };
    eventyard_rules::run_tests(&project.rules, tags_of, payloads::wrong)
}

/// Checks a project whose files have been read already (from the copy of the last good one). Its tests have
/// passed when it was good, and are left out.
///
/// # Errors
/// As [`load`], for instance where a variable of the environment is gone.
pub fn load_files(folder: &Path, files: Files, around: &Surroundings<'_>) -> Result<(Project, Report), Report> {
    load_kept(folder, files, around, &WasmHost::new(None), &|_| None)
}

/// The same, with `kept` to say where the copy of a package lies that was kept with them.
pub(super) fn load_kept(
    folder: &Path,
    files: Files,
    around: &Surroundings<'_>,
    wasm: &WasmHost,
    kept: Copies<'_>,
) -> Result<(Project, Report), Report> {
    let mut report = Report::new();
    for (path, text) in &files {
        report.add_source(&Arc::from(path.as_str()), text);
    }
    build(folder, files, report, &Given { around, wasm, tests: Tests::LeaveOut, kept: Some(kept) }, &RefCell::default())
}

/// Where the copy of a package lies, by the package's path.
type Copies<'a> = &'a dyn Fn(&str) -> Option<PathBuf>;

/// What a project is built with, beside its files.
struct Given<'a> {
    around: &'a Surroundings<'a>,
    wasm: &'a WasmHost,
    tests: Tests,
    /// Where the copy of a package lies, where it is not the package itself that is to be read.
    kept: Option<Copies<'a>>,
}

impl Given<'_> {
    /// Reads and compiles a function's package.
    fn package(&self, folder: &Path, path: &str) -> Result<Package, PackageProblem> {
        let copy = self.kept.and_then(|kept| kept(path)).map(|copy| copy.to_string_lossy().into_owned());
        let bytes_max = u64::try_from(self.wasm.module_bytes_max()).unwrap_or(u64::MAX);
        let bytes = read_named_bytes(folder, copy.as_deref().unwrap_or(path), bytes_max)
            .map_err(PackageProblem::Unreadable)?
            .ok_or_else(|| PackageProblem::Unreadable("it does not exist".to_owned()))?;
        self.wasm.load(Bytes::from(bytes)).map_err(PackageProblem::Refused)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tests {
    /// One that fails is a mistake.
    Run,
    /// They are read, and whoever asked for them runs them.
    Keep,
    LeaveOut,
}

/// What is known after all files have been read, before they are held against each other.
pub(super) struct Known<'p> {
    pub(super) project: &'p Project,
    pub(super) sources: &'p [ReadSource],
    pub(super) rules: &'p [ReadRule],
    pub(super) listen_place: &'p Place,
    /// Whether `eventyard.toml` was read as a whole, so that what it does not name does not exist.
    pub(super) main_is_whole: bool,
    /// Whether the events of the rules' tests are what their files hold, and not stand-ins for them.
    pub(super) has_test_events: bool,
}

fn build(
    folder: &Path,
    files: Files,
    mut report: Report,
    given: &Given<'_>,
    asked: &RefCell<Asked>,
) -> Result<(Project, Report), Report> {
    let Given { around, tests, .. } = *given;
    // Without a working folder a relative path stays what it is, and is as good.
    let folder = &std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let resolve = |reference: Reference<'_>| {
        let found = resolve::resolve(folder, around.env, reference);
        asked.borrow_mut().reference(folder, reference, found.as_ref().ok().and_then(Option::as_deref));
        found
    };
    let event_file = |path: &str| match tests {
        Tests::LeaveOut => Ok("{}".to_owned()),
        Tests::Run | Tests::Keep => {
            asked.borrow_mut().files.push(folder.join(path));
            read_named(folder, path, EVENT_FILE_BYTES_MAX)?.ok_or_else(|| "it does not exist".to_owned())
        }
    };
    let package = |path: &str| {
        asked.borrow_mut().files.push(folder.join(path));
        let package = given.package(folder, path)?;
        let digest = package.digest().iter().map(|byte| format!("{byte:02x}")).collect();
        asked.borrow_mut().values.push(digest);
        Ok(package)
    };
    let parts = Parts { folder, around, event_file: &event_file, package: &package };
    let main: Arc<str> = Arc::from(MAIN_FILE);
    let text = text_of(&files, MAIN_FILE).unwrap_or_default();
    let document = Document::parse(text);
    let reading = Reading::new(&main, &document, &resolve);
    let main_is_whole = text_of(&files, MAIN_FILE).is_some() && !reading.is_broken();
    let Main { mut project, sources, mut rules, listen_place, client } = parts.main_file(reading.root(&document), text);
    reading.finish(&mut report);
    for (path, text) in files.iter().filter(|(path, _)| path != MAIN_FILE) {
        let document = Document::parse(text);
        let reading = Reading::new(&Arc::from(path.as_str()), &document, &resolve);
        rules.extend(parts.rules_file(reading.root(&document), text, &client));
        reading.finish(&mut report);
    }
    let known = Known {
        project: &project,
        sources: &sources,
        rules: &rules,
        listen_place: &listen_place,
        main_is_whole,
        has_test_events: tests != Tests::LeaveOut,
    };
    check::check(&known, &mut report);
    project.rules = rules.into_iter().map(|read| read.rule).collect();
    if tests == Tests::LeaveOut {
        project.rules.iter_mut().for_each(|rule| rule.tests.clear());
    }
    if tests == Tests::Run && !report.has_errors() {
        check::run_tests(&project, &mut report);
    }
    report.sort();
    if report.has_errors() {
        return Err(report);
    }
    project.hash = asked.borrow().hash(&files);
    project.files = files;
    project.named_files = asked.borrow().named_files();
    Ok((project, report))
}

/// What the files asked for beside themselves.
#[derive(Default)]
struct Asked {
    files: Vec<PathBuf>,
    /// What stood for strings, in the order of reading.
    values: Vec<String>,
}

impl Asked {
    fn reference(&mut self, folder: &Path, reference: Reference<'_>, value: Option<&str>) {
        if let Reference::File(path) = reference {
            self.files.push(folder.join(path));
        }
        self.values.push(value.unwrap_or_default().to_owned());
    }

    /// Each file once, sorted.
    fn named_files(&self) -> Vec<PathBuf> {
        let mut files = self.files.clone();
        files.sort();
        files.dedup();
        files
    }

    /// A hash of the files and of what stood for strings in them.
    fn hash(&self, files: &Files) -> [u8; 16] {
        let mut sum = sha2::Sha256::new();
        let parts = files.iter().flat_map(|(path, text)| [path, text]).chain(&self.values);
        for part in parts {
            sum.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            sum.update(part);
        }
        let mut hash = [0; 16];
        hash.iter_mut().zip(sum.finalize()).for_each(|(to, from)| *to = from);
        hash
    }
}

/// What `eventyard.toml` says.
struct Main {
    project: Project,
    sources: Vec<ReadSource>,
    rules: Vec<ReadRule>,
    listen_place: Place,
    /// A client with the project's networks, against which addresses are checked; it calls nobody.
    client: HttpClient,
}

/// What reading a file needs.
struct Parts<'a> {
    folder: &'a Path,
    around: &'a Surroundings<'a>,
    event_file: &'a dyn Fn(&str) -> Result<String, String>,
    package: &'a dyn Fn(&str) -> Result<Package, PackageProblem>,
}

impl Parts<'_> {
    fn main_file(&self, table: Table<'_>, text: &str) -> Main {
        table.declare(&keys::MAIN_FILE);
        let (server, listen_place) = read_server(&table, self.folder);
        let client = HttpClient::new(server.egress_allow.clone());
        let sources = read_sources(&table, self.folder, self.around.now);
        let project = Project {
            folder: self.folder.to_owned(),
            store: read_store(&table, self.folder),
            limits: read_limits(&table),
            defaults: read_defaults(&table),
            sources: sources.iter().map(|source| source.def.clone()).collect(),
            functions: read_functions(&table, self.folder, self.around.env, self.package),
            sinks: read_sinks(&table, self.folder, &client),
            channels: read_channels(&table, self.folder, &client),
            server,
            ..Project::default()
        };
        let rules = self.read_rules(&table, text, &client);
        table.finish();
        Main { project, sources, rules, listen_place, client }
    }

    fn rules_file(&self, table: Table<'_>, text: &str, client: &HttpClient) -> Vec<ReadRule> {
        table.declare(&keys::RULES_FILE);
        let rules = self.read_rules(&table, text, client);
        for key in MAIN_TABLES {
            table.misplaced(key, &format!("only rules stand in rules files; move it to {MAIN_FILE}"));
        }
        table.finish();
        rules
    }

    fn read_rules(&self, table: &Table<'_>, text: &str, client: &HttpClient) -> Vec<ReadRule> {
        let host = Host {
            http_target: &|table| read_http_target(table, self.folder, client),
            event_file: self.event_file,
            text,
        };
        read_rules(table, &host)
    }
}

fn read_defaults(file: &Table<'_>) -> RetryOverrides {
    let Some(table) = file.table("defaults", "[defaults]") else { return RetryOverrides::default() };
    let retry = read_retry(&table);
    table.finish();
    retry
}
