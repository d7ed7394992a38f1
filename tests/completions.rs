//! Shells accept the completions that are printed and complete our commands with them; the manual pages render.

use std::path::Path;
use std::process::{Command, Stdio};

use super::support::{run, run_with};

fn script(shell: &str, folder: &Path) -> String {
    let ended = run(&["completions", shell], folder);
    assert_eq!(ended.code, 0, "{shell}: {}", ended.stderr);
    ended.stdout
}

/// Whether a program can be started here.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("skipped in part: there is no `{program}` here");
    }
    there
}

/// What bash offers after `words`, the last of which is being typed.
fn offered_by_bash(script: &Path, words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let (last, before) = (words.last().unwrap(), words.get(words.len() - 2).unwrap());
    let asked = format!(
        "source '{}'; COMP_WORDS=({}); COMP_CWORD={}; _eventyard eventyard '{last}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
        script.display(),
        quoted.join(" "),
        words.len() - 1
    );
    let output = Command::new("bash").args(["-c", &asked]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_accepts_its_completions_and_completes_our_commands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eventyard.bash");
    std::fs::write(&path, script("bash", folder.path())).unwrap();
    if !has("bash") {
        return;
    }
    assert!(Command::new("bash").arg("-n").arg(&path).status().unwrap().success());
    let offered = offered_by_bash(&path, &["eventyard", "dead"]);
    assert!(offered.split_whitespace().any(|word| word == "dead-letters"), "{offered}");
    let offered = offered_by_bash(&path, &["eventyard", "events", "se"]);
    assert_eq!(offered.trim(), "send");
    let offered = offered_by_bash(&path, &["eventyard", "events", "send", "--ty"]);
    assert_eq!(offered.trim(), "--type");
}

#[test]
fn every_shell_has_completions_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, mark) in [
        ("zsh", "#compdef eventyard"),
        ("fish", "complete -c eventyard"),
        ("elvish", "edit:completion:arg-completer"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = script(shell, folder.path());
        assert!(script.contains(mark) && script.contains("dead-letters"), "{shell}");
        if matches!(shell, "zsh" | "fish") && has(shell) {
            assert_eq!(run_syntax_check(shell, folder.path(), &script), Some(0), "{shell}");
        }
    }
    assert_eq!(run(&["completions", "tcsh"], folder.path()).code, 2);
}

fn run_syntax_check(shell: &str, folder: &Path, script: &str) -> Option<i32> {
    let path = folder.join(shell);
    std::fs::write(&path, script).unwrap();
    Command::new(shell).arg("-n").arg(path).status().unwrap().code()
}

/// A page as a reader sees it, without the marks for bold and underlined.
fn rendered(page: &str) -> Option<String> {
    use std::io::Write as _;
    if !has("groff") {
        return None;
    }
    let mut groff = Command::new("groff")
        .args(["-man", "-Tascii", "-P", "-c", "-ww"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    groff.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = groff.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '\u{8}' => drop(plain.pop()),
            c => plain.push(c),
        }
    }
    Some(plain)
}

#[test]
fn the_manual_has_a_page_for_each_command_and_each_renders() {
    let folder = tempfile::tempdir().unwrap();
    let main = run(&["man"], folder.path());
    assert_eq!(main.code, 0, "{}", main.stderr);
    assert!(main.stdout.contains(".TH eventyard 1"), "{}", main.stdout);

    let pages = folder.path().join("share/man1");
    let written = run_with(&["man", "--dir", "share/man1"], folder.path(), "");
    assert_eq!(written.code, 0, "{}", written.stderr);
    let names: Vec<String> =
        std::fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in ["eventyard.1", "eventyard-events-send.1", "eventyard-dead-letters.1", "eventyard-man.1"] {
        assert!(names.iter().any(|known| known == name), "no {name} among {names:?}");
    }
    for name in &names {
        let page = std::fs::read_to_string(pages.join(name)).unwrap();
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(page.contains(section), "{name} has no {section}");
        }
    }
    let send = std::fs::read_to_string(pages.join("eventyard-events-send.1")).unwrap();
    if let Some(text) = rendered(&send) {
        for wanted in ["NAME", "SYNOPSIS", "--type", "eventyard events send --type order.created"] {
            assert!(text.contains(wanted), "`{wanted}` is missing in\n{text}");
        }
    }
}
