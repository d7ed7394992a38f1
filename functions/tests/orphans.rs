//! Processes that leave their group. A binary of its own, because adopting orphans is a property of the whole
//! program.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use eventyard_event::Name;
use eventyard_functions::{CommandConfig, CommandExecutor, Executor, Invocation, adopt_orphans};
use tokio::time::Instant;

const LONG: Duration = Duration::from_secs(60);

fn pid_in(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.strip_suffix('\n')?.parse().ok()
}

#[tokio::test]
async fn a_daemon_that_a_command_leaves_behind_is_killed_and_reaped() {
    adopt_orphans().unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The daemon has a session of its own, holds standard output open and has a child.
    let script = "setsid sh -c 'echo $$ > daemon; sleep 1000 & echo $! > child; wait' & \
                  while ! [ -s child ]; do sleep 0.01; done; echo done";
    let command = vec!["sh".into(), "-c".into(), script.into()];
    let config = CommandConfig::new(command, folder.path().to_owned(), LONG);
    let name = Name::new("leaver").unwrap();
    let executor = CommandExecutor::new(name.clone(), config, env!("CARGO_BIN_EXE_eventyard-test-shim").into());
    let invocation = Invocation {
        id: "0199-0".into(),
        attempt: 1,
        function: name,
        payload: Bytes::new(),
        content_type: "application/json".into(),
        timeout: LONG,
        environment: Vec::new(),
        headers: Vec::new(),
    };
    let result = executor.invoke(invocation).await.unwrap();
    assert_eq!(&result.answer[..], b"done\n");
    assert!(result.took < LONG / 2, "the open output did not hold the call");

    for file in ["daemon", "child"] {
        let pid = pid_in(&folder.path().join(file)).unwrap();
        let deadline = Instant::now() + LONG;
        while Path::new(&format!("/proc/{pid}")).exists() {
            assert!(Instant::now() < deadline, "{file} is still there, if only as a zombie");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
