//! `eventyard errors`: what each code means, and what to do.
//!
//! The pages are the files of `docs/errors/`, one for each code, and part of the program, so that the answer
//! fits the version that asks. Tests hold the pages against the codes that the crates can report.

mod pages;

use serde_json::{Value, json};

use super::exit::{Failure, Outcome};
use super::screen::{Screen, shown};
use super::{Context, JsonArgs};

use pages::PAGES;

/// List all error codes, or say what one means and what to do
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  eventyard errors\n  eventyard errors body_too_large")]
pub(crate) struct ErrorsArgs {
    /// The code, such as body_too_large
    code: Option<String>,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: &ErrorsArgs, context: &Context) -> Outcome {
    match &args.code {
        None => list(args, context.screen),
        Some(code) => show(code, args, context.screen),
    }
}

fn list(args: &ErrorsArgs, screen: Screen) -> Outcome {
    if args.json.json {
        let codes: Vec<_> =
            PAGES.iter().map(|(code, page)| json!({ "code": code, "summary": summary(page) })).collect();
        return Ok(screen.json(&json!({ "items": codes }))?);
    }
    let rows = PAGES.iter().map(|(code, page)| vec![(*code).to_owned(), summary(page).to_owned()]).collect();
    screen.table(&["CODE", "WHAT IT MEANS"], rows, "no codes")?;
    Ok(screen.line(screen.dim("the whole page: eventyard errors CODE"))?)
}

fn show(code: &str, args: &ErrorsArgs, screen: Screen) -> Outcome {
    let family = family(code);
    let Some((code, page)) = PAGES.iter().find(|(known, _)| *known == code || Some(*known) == family) else {
        return Err(Failure::usage(unknown(code)));
    };
    if args.json.json {
        let value: Value = json!({ "code": code, "summary": summary(page), "page": page });
        return Ok(screen.json(&value)?);
    }
    for line in page.lines() {
        match line.strip_prefix("# ").or_else(|| line.strip_prefix("## ")) {
            Some(heading) => screen.line(screen.bold(heading))?,
            None => screen.line(line)?,
        }
    }
    Ok(())
}

/// The page for codes that end in what a target said: `http_404`, `exit_3`, `signal_sigkill`.
fn family(code: &str) -> Option<&'static str> {
    let (first, rest) = code.split_once('_')?;
    let number = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    match first {
        "http" if number && rest.len() == 3 => Some("http_status"),
        "exit" if number => Some("exit_status"),
        "signal" if rest.starts_with("sig") => Some("signal"),
        _ => None,
    }
}

/// A code that has no page; the nearest ones are named.
fn unknown(code: &str) -> String {
    let mut near: Vec<_> = PAGES
        .iter()
        .map(|(known, _)| (strsim::normalized_damerau_levenshtein(known, code), *known))
        .filter(|(likeness, _)| *likeness > 0.5)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut text = format!("there is no code `{}`", shown(code));
    if !near.is_empty() {
        let names: Vec<_> = near.iter().take(3).map(|(_, known)| *known).collect();
        text.push_str(&format!("\n  help: near it are {}", names.join(", ")));
    }
    text.push_str("\n  help: `eventyard errors` lists them all");
    text
}

/// The first sentence of a page: the line below its title.
fn summary(page: &str) -> &str {
    page.lines().skip(1).find(|line| !line.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_page_has_what_a_reader_needs() {
        for (code, page) in PAGES {
            assert!(page.starts_with(&format!("# {code}\n\n")), "{code} does not begin with its title");
            assert!(summary(page).ends_with('.'), "{code} has no sentence below its title");
            for heading in ["## Likely causes\n", "## What to do\n", "## Example\n"] {
                assert!(page.contains(heading), "{code} has no {heading}");
            }
        }
    }

    #[test]
    fn the_pages_are_in_order_and_each_file_is_one() {
        let codes: Vec<_> = PAGES.iter().map(|(code, _)| *code).collect();
        assert!(codes.is_sorted(), "keep src/cli/errors/pages.rs sorted");
        let files: BTreeSet<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "README.md")
            .collect();
        let pages: BTreeSet<_> = codes.iter().map(|code| format!("{code}.md")).collect();
        assert_eq!(files, pages);
    }

    #[test]
    fn each_code_that_can_be_reported_has_a_page() {
        let http = eventyard::api::codes::CODES.iter().map(|code| code.word);
        let project = eventyard_rules::codes::CODES.iter().map(|(code, _)| *code);
        let whole = eventyard::config::codes::CODES.iter().map(|(code, _)| *code);
        let patterns = eventyard_rules::pattern::codes::CODES.iter().map(|(code, _)| *code);
        let store = eventyard_store::codes::CODES.iter().copied();
        for code in http.chain(project).chain(whole).chain(patterns).chain(store) {
            assert!(PAGES.iter().any(|(page, _)| *page == code), "docs/errors/{code}.md is missing");
        }
    }

    #[test]
    fn what_a_target_said_has_one_page_for_all_numbers() {
        assert_eq!(family("http_404"), Some("http_status"));
        assert_eq!(family("exit_3"), Some("exit_status"));
        assert_eq!(family("signal_sigkill"), Some("signal"));
        for code in ["http_", "http_40", "http_4040", "exit_x", "signal_x", "http", ""] {
            assert_eq!(family(code), None, "{code}");
        }
    }

    #[test]
    fn a_code_that_is_nearly_right_is_named() {
        assert!(unknown("body_to_large").contains("near it are body_too_large"));
        assert!(!unknown("zzz").contains("near"));
    }
}
