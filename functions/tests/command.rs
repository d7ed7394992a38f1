//! Commands as real processes: what they are given, how they may end, and that nothing is left of them.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use eventyard_event::Name;
use eventyard_functions::{
    CommandConfig, CommandExecutor, Executor, Invocation, InvocationError, InvocationResult, STDERR_TAIL_BYTES_MAX,
};
use tempfile::TempDir;
use tokio::time::Instant;

const SHIM: &str = env!("CARGO_BIN_EXE_eventyard-test-shim");

/// Longer than any test takes on a slow machine. What is waited for ends much sooner.
const LONG: Duration = Duration::from_secs(60);

/// A project folder with one script, and a function that runs it.
struct Project {
    folder: TempDir,
    config: CommandConfig,
}

impl Project {
    fn new(script: &str) -> Project {
        let folder = tempfile::tempdir().unwrap();
        write_script(&folder.path().join("run.sh"), script);
        let config = CommandConfig::new(vec!["sh".into(), "run.sh".into()], folder.path().to_owned(), LONG);
        Project { folder, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn executor(&self) -> CommandExecutor {
        CommandExecutor::new(name(), self.config.clone(), SHIM.into())
    }

    /// A call of a file that was just written. Another test that starts a process at that moment holds the file
    /// open for writing a little longer, and the system runs no such file.
    async fn call_unwritten(&self) -> Result<InvocationResult, InvocationError> {
        let deadline = Instant::now() + LONG;
        loop {
            match self.call("").await {
                Err(InvocationError::SpawnFailed { problem, .. })
                    if problem.kind() == std::io::ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {}
                other => return other,
            }
        }
    }

    async fn call(&self, payload: impl Into<Bytes>) -> Result<InvocationResult, InvocationError> {
        self.executor().invoke(invocation(payload)).await
    }
}

fn write_script(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn name() -> Name {
    Name::new("resize").unwrap()
}

fn invocation(payload: impl Into<Bytes>) -> Invocation {
    Invocation {
        id: "0199-7".into(),
        attempt: 2,
        function: name(),
        payload: payload.into(),
        content_type: "application/cloudevents+json".into(),
        timeout: LONG,
        environment: vec![("EVENTYARD_EVENT".into(), "0199".into())],
        headers: Vec::new(),
    }
}

/// Waits until something holds, and fails if it does not within [`LONG`].
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The process id that a script has written to a file, once it is there.
async fn pid_in(path: &Path) -> u32 {
    let read = || std::fs::read_to_string(path).ok().and_then(|text| text.strip_suffix('\n')?.parse().ok());
    eventually(&format!("a process id in {}", path.display()), || read().is_some()).await;
    read().unwrap()
}

/// Whether a process runs. One that has ended and waits to be reaped does not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn is_listed(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn the_event_goes_in_and_the_answer_comes_out() {
    let project = Project::new("printf 'got '; cat; echo note >&2");
    let result = project.call("{\"a\":1}").await.unwrap();
    assert_eq!(&result.answer[..], b"got {\"a\":1}");
    assert_eq!((result.truncated, result.stderr_tail.as_str()), (false, "note\n"));
}

#[tokio::test]
async fn a_name_without_a_slash_is_looked_up_and_arguments_are_kept_as_they_are() {
    let mut project = Project::new("");
    project.config.command = vec!["printf".into(), "%s|".into(), "a b".into(), "$HOME".into(), "--".into(), "".into()];
    assert_eq!(&project.call("").await.unwrap().answer[..], b"a b|$HOME|--||");
}

#[tokio::test]
async fn it_runs_in_the_project_folder() {
    let project = Project::new("pwd -P");
    let folder = project.folder.path().canonicalize().unwrap();
    assert_eq!(project.call("").await.unwrap().answer, format!("{}\n", folder.display()));
}

#[tokio::test]
async fn the_environment_is_a_list_and_not_the_brokers() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "the test's own environment has more");
    let mut project = Project::new("env");
    project.config.environment =
        vec![("LEVEL".into(), "3".into()), ("LANG".into(), "C".into()), ("EVENTYARD_ATTEMPT".into(), "99".into())];
    let answer = project.call("").await.unwrap().answer;
    let text = std::str::from_utf8(&answer).unwrap();
    let variables: Vec<&str> = text.lines().collect();
    for wanted in [
        "LEVEL=3",
        "LANG=C",
        "EVENTYARD_FUNCTION=resize",
        "EVENTYARD_DELIVERY=0199-7",
        "EVENTYARD_ATTEMPT=2",
        "EVENTYARD_EVENT=0199",
        "EVENTYARD_CONTENT_TYPE=application/cloudevents+json",
    ] {
        assert!(variables.contains(&wanted), "{wanted} in {text}");
    }
    // PWD, SHLVL and _ are what a shell sets for itself.
    let allowed = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "LEVEL", "PWD", "OLDPWD", "SHLVL", "_"];
    for variable in variables {
        let (name, _) = variable.split_once('=').unwrap();
        assert!(name.starts_with("EVENTYARD_") || allowed.contains(&name), "{variable}");
    }
}

/// The open files of this process that a process it starts would have too.
fn inherited_files() -> Vec<String> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let mut files = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let info = Path::new("/proc/self/fdinfo").join(entry.file_name());
        let Ok(info) = std::fs::read_to_string(info) else { continue };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        if u32::from_str_radix(flags, 8).unwrap() & CLOSE_ON_EXEC == 0 {
            files.push(std::fs::read_link(entry.path()).unwrap().display().to_string());
        }
    }
    files
}

#[tokio::test]
async fn no_file_of_the_broker_is_open_in_it() {
    let project = Project::new("ls -l /proc/$$/fd");
    let secret = std::fs::File::create(project.path("secret")).unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let answer = project.call("").await.unwrap().answer;
    drop((secret, socket));
    let text = String::from_utf8(answer.to_vec()).unwrap();
    assert!(!text.contains("secret") && !text.contains("socket"), "{text}");
    // Beside its pipes and its script it has only what this test was itself started with by somebody who did
    // not close it.
    let inherited = inherited_files();
    for line in text.lines().filter(|line| line.contains("->")) {
        let (_, file) = line.rsplit_once("-> ").unwrap();
        let own = file.starts_with("pipe:") || file.ends_with("run.sh");
        assert!(own || inherited.iter().any(|inherited| inherited == file), "{line}");
    }
}

#[tokio::test]
async fn the_shim_gives_up_rights_and_core_files() {
    let project = Project::new(
        "grep NoNewPrivs /proc/self/status; ulimit -c; ulimit -H -c; echo $$; cut -d' ' -f5 /proc/$$/stat",
    );
    let answer = project.call("").await.unwrap().answer;
    let text = String::from_utf8(answer.to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["NoNewPrivs:\t1", "0", "0"], "{text}");
    assert_eq!(lines[3], lines[4], "the command leads its own process group");
}

#[tokio::test]
async fn an_exit_status_is_the_outcome_and_names_itself() {
    for status in [1, 3, 126, 127, 255] {
        let project = Project::new(&format!("echo 'no such order' >&2; exit {status}"));
        let error = project.call("").await.unwrap_err();
        assert!(matches!(error, InvocationError::Exit { .. }), "{error:?}");
        assert_eq!(error.code(), format!("exit_{status}"));
        assert!(error.retryable());
        assert!(error.to_string().ends_with("no such order"), "{error}");
    }
}

#[tokio::test]
async fn a_signal_is_the_outcome_and_names_itself() {
    for (signal, code) in
        [("KILL", "signal_sigkill"), ("SEGV", "signal_sigsegv"), ("PIPE", "signal_sigpipe"), ("ABRT", "signal_sigabrt")]
    {
        let project = Project::new(&format!("kill -{signal} $$; echo survived"));
        let error = project.call("").await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.retryable());
        assert!(!project.path("core").exists());
    }
}

#[tokio::test]
async fn what_cannot_be_started_says_so_and_works_once_it_is_mended() {
    let mut project = Project::new("");
    project.config.command = vec!["./run.sh".into()];
    let script = project.path("run.sh");
    let spawn_failed = |error: InvocationError, words: &str| {
        assert_eq!(error.code(), "spawn_failed", "{error}");
        assert!(error.retryable());
        assert!(error.to_string().contains("`./run.sh`") && error.to_string().contains(words), "{error}");
    };

    std::fs::remove_file(&script).unwrap();
    spawn_failed(project.call("").await.unwrap_err(), "is not there");

    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    spawn_failed(project.call("").await.unwrap_err(), "chmod +x");

    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    spawn_failed(project.call_unwritten().await.unwrap_err(), "interpreter");

    std::fs::copy("/bin/true", &script).unwrap();
    let writer = std::fs::OpenOptions::new().append(true).open(&script).unwrap();
    spawn_failed(project.call("").await.unwrap_err(), "still writing");
    drop(writer);
    assert!(project.call_unwritten().await.is_ok());

    project.config.folder = project.path("no-such-folder");
    spawn_failed(project.call("").await.unwrap_err(), "not there");
}

#[tokio::test]
async fn what_the_system_can_never_be_asked_for_is_not_retried() {
    let mut project = Project::new("");
    project.config.environment = vec![("BIG".into(), "x".repeat(8 << 20))];
    let error = project.call("").await.unwrap_err();
    assert_eq!((error.code(), error.retryable()), ("spawn_failed".into(), false), "{error}");
    project.config.environment = vec![("NUL".into(), "a\0b".into())];
    let error = project.call("").await.unwrap_err();
    assert_eq!((error.code(), error.retryable()), ("spawn_failed".into(), false), "{error}");
}

#[tokio::test]
async fn a_missing_shim_is_an_outcome_too() {
    let project = Project::new("");
    let executor = CommandExecutor::new(name(), project.config.clone(), "/no/such/shim".into());
    assert_eq!(executor.invoke(invocation("")).await.unwrap_err().code(), "spawn_failed");
}

#[tokio::test]
async fn input_that_is_not_read_is_no_error() {
    let large = Bytes::from(vec![b'x'; 10 << 20]);
    let closes = Project::new("exec <&-; echo answered");
    assert_eq!(&closes.call(large.clone()).await.unwrap().answer[..], b"answered\n");
    let ends = Project::new("exit 0");
    assert_eq!(&ends.call(large.clone()).await.unwrap().answer[..], b"");
    let fails = Project::new("exec <&-; exit 4");
    assert_eq!(fails.call(large.clone()).await.unwrap_err().code(), "exit_4");
    let all = Project::new("wc -c");
    assert_eq!(std::str::from_utf8(&all.call(large).await.unwrap().answer).unwrap().trim(), "10485760");
}

#[tokio::test]
async fn a_large_echo_does_not_block_itself() {
    let mut project = Project::new("cat");
    project.config.output_bytes_max = 8 << 20;
    let large = Bytes::from(vec![b'y'; 8 << 20]);
    let result = project.call(large.clone()).await.unwrap();
    assert!(result.answer == large && !result.truncated);
}

#[tokio::test]
async fn endless_output_is_read_on_and_kept_to_its_limit() {
    let mut project =
        Project::new("head -c 200000000 /dev/zero; head -c 100000000 /dev/zero | tr '\\0' e >&2; echo end >&2");
    project.config.output_bytes_max = 1000;
    let result = project.call("").await.unwrap();
    assert!(result.truncated);
    assert_eq!(&result.answer[..], [0; 1000]);
    assert_eq!(result.stderr_tail.len(), STDERR_TAIL_BYTES_MAX);
    assert!(result.stderr_tail.ends_with("eee\u{65}end\n"), "the end of it, not the beginning");
}

#[tokio::test]
async fn one_that_runs_too_long_is_asked_to_end() {
    let mut project = Project::new("trap 'echo asked >&2; exit 0' TERM; echo $$ > pid; while :; do sleep 0.01; done");
    project.config.timeout = Duration::from_millis(1500);
    let error = project.call("").await.unwrap_err();
    assert_eq!(error.code(), "function_timeout");
    assert!(error.retryable() && error.to_string().contains("1.5s"), "{error}");
    assert!(error.stderr_tail().ends_with("asked\n"), "{error}");
}

#[tokio::test]
async fn one_that_does_not_want_to_end_is_killed_with_its_whole_group() {
    let mut project = Project::new("trap '' TERM; sleep 1000 & echo $! > child; echo $$ > pid; wait; wait; sleep 1000");
    project.config.term_grace = Duration::from_millis(50);
    let executor = project.executor();
    let call = executor.invoke(Invocation { timeout: Duration::from_millis(1500), ..invocation("") });
    let error = call.await.unwrap_err();
    assert_eq!(error.code(), "function_timeout");
    for file in ["pid", "child"] {
        let pid = pid_in(&project.path(file)).await;
        eventually(&format!("{file} is gone"), || !runs(pid)).await;
    }
}

#[tokio::test]
async fn a_dropped_call_kills_the_whole_group_and_leaves_no_zombie() {
    let project = Project::new("trap '' TERM; sleep 1000 & echo $! > child; echo $$ > pid; wait");
    let executor = project.executor();
    let call = tokio::spawn(async move { executor.invoke(invocation("")).await });
    let (pid, child) = (pid_in(&project.path("pid")).await, pid_in(&project.path("child")).await);
    assert!(runs(pid) && runs(child));
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    eventually("the command is gone and reaped", || !is_listed(pid)).await;
    eventually("its child is gone", || !runs(child)).await;
}

#[tokio::test]
async fn a_child_that_holds_the_output_open_does_not_hold_the_call() {
    let project = Project::new("sleep 1000 & echo $! > child; echo done");
    let result = project.call("").await.unwrap();
    assert_eq!(&result.answer[..], b"done\n");
    assert!(result.took < LONG);
    let child = pid_in(&project.path("child")).await;
    eventually("the child is killed with the group", || !runs(child)).await;
}

#[tokio::test]
async fn calls_side_by_side_do_not_mix() {
    let project = Project::new("cat; echo $EVENTYARD_CALL >&2");
    let executor = std::sync::Arc::new(project.executor());
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let executor = std::sync::Arc::clone(&executor);
            tokio::spawn(async move { (number, executor.invoke(invocation(number.to_string())).await.unwrap()) })
        })
        .collect();
    let mut names = std::collections::BTreeSet::new();
    for call in calls {
        let (number, result) = call.await.unwrap();
        assert_eq!(result.answer, number.to_string());
        names.insert(result.stderr_tail);
    }
    assert_eq!(names.len(), 40, "each call has a name of its own");
}

#[tokio::test]
async fn a_killed_broker_takes_its_commands_with_it() {
    let project = Project::new("echo $$ > pid; while :; do sleep 0.05; done");
    let mut broker = std::process::Command::new(SHIM)
        .args(["host".as_ref(), project.folder.path(), "run.sh".as_ref()])
        .spawn()
        .unwrap();
    let pid = pid_in(&project.path("pid")).await;
    assert!(runs(pid));
    broker.kill().unwrap();
    broker.wait().unwrap();
    eventually("the command is gone", || !runs(pid)).await;
}
