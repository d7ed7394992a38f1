//! The project that is run, and the command in it.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Every call tells which run it comes from, so that what a killed run sent last and what the next one sent first
/// can be told apart however late either is read.
const PROJECT: &str = r#"
[server]
listen = "127.0.0.1:0"

[function.append]
runtime = "command"
command = ["./append.sh"]
environment = { RUN = { env = "RUN" } }

[channel.oncall]
kind = "webhook"
url = { env = "TARGET" }
headers = { x-run = { env = "RUN" } }
alerts = ["dead_letter"]
"#;

/// `ROUND` only makes each version of the file another one.
const RULES: &str = r#"
[[rule]]
name = "plain"
description = "as of round ROUND"
pattern = { type = ["load.plain"] }
target = { http = { url = { env = "TARGET" }, headers = { x-run = { env = "RUN" } } }, timeout = "1s", concurrency = 16, retry = { attempts = 100000, backoff = "20ms", backoff_max = "300ms" } }

[[rule]]
name = "ordered"
pattern = { type = ["load.keyed"] }
order_by = "data.key"
target = { http = { url = { env = "TARGET" }, headers = { x-run = { env = "RUN" } } }, timeout = "1s", concurrency = 16, retry = { attempts = 100000, backoff = "20ms", backoff_max = "300ms" } }

[[rule]]
name = "doomed"
pattern = { type = ["load.doomed"] }
target = { http = { url = { env = "TARGET" }, headers = { x-run = { env = "RUN" }, x-doomed = "yes" } }, timeout = "1s", retry = { attempts = 2, backoff = "20ms", backoff_max = "50ms" } }

[[rule]]
name = "command"
pattern = { type = ["load.command"] }
target = { function = "append", concurrency = 2, retry = { attempts = 5, backoff = "20ms", backoff_max = "100ms" } }
"#;

/// Fails the first attempt of some events. Only what the shell itself can do: one process, one write.
const COMMAND: &str = r#"#!/bin/sh
case "$EVENTYARD_EVENT_ID:$EVENTYARD_ATTEMPT" in
*5:1) end=1 ;;
*) end=0 ;;
esac
printf '%s %s %s %s\n' "$EVENTYARD_DELIVERY" "$EVENTYARD_ATTEMPT" "$RUN" "$end" >>appended.txt
exit $end
"#;

pub(super) fn write(folder: &Path) {
    fs::write(folder.join("eventyard.toml"), PROJECT).unwrap();
    let command = folder.join("append.sh");
    fs::write(&command, COMMAND).unwrap();
    fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.join("rules")).unwrap();
    write_rules(folder, 0);
}

/// The same rules with another description; whole or not at all, as editors do it.
pub(super) fn write_rules(folder: &Path, round: u32) {
    let new = folder.join("rules.new");
    fs::write(&new, RULES.replace("ROUND", &round.to_string())).unwrap();
    fs::rename(new, folder.join("rules/load.toml")).unwrap();
}

/// From now on the project does not load; the last good one must serve.
pub(super) fn spoil_rules(folder: &Path) {
    fs::write(folder.join("rules/load.toml"), "[[rule]]\nname = \"plain").unwrap();
}

/// One run of the command, as it told it itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandRun {
    pub(super) attempt: u64,
    pub(super) run: u32,
    pub(super) succeeded: bool,
}

/// What the command wrote, by delivery.
pub(super) fn commands_run(folder: &Path) -> HashMap<String, Vec<CommandRun>> {
    let mut runs: HashMap<String, Vec<CommandRun>> = HashMap::new();
    for line in fs::read_to_string(folder.join("appended.txt")).unwrap_or_default().lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [delivery, attempt, run, end] = fields[..] else { panic!("a torn line: {line}") };
        let command =
            CommandRun { attempt: attempt.parse().unwrap(), run: run.parse().unwrap(), succeeded: end == "0" };
        runs.entry(delivery.to_owned()).or_default().push(command);
    }
    runs
}
