//! The JSON Schema says what the reader says: every project of the repository fits it, and what it refuses is refused.

use std::path::{Path, PathBuf};

use eventyard::schema::{File, document};
use serde_json::{Value, json};

use crate::support::{eventyard, run};

fn validator(file: File) -> jsonschema::Validator {
    jsonschema::options().build(&document(file)).unwrap()
}

/// What a schema finds wrong with a text of TOML.
fn mistakes(file: File, toml: &str) -> Vec<String> {
    let table: toml::Table = toml.parse().unwrap();
    let value = serde_json::to_value(table).unwrap();
    validator(file).iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Every file below a folder of the repository whose name ends so.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "node_modules" | "target" | "data") {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn both_are_json_schema_2020_12() {
    for file in [File::Main, File::Rules] {
        assert!(jsonschema::meta::is_valid(&document(file)));
    }
}

#[test]
fn every_example_project_fits() {
    let mut count = 0;
    for folder in ["examples", "src/cli/init"] {
        for path in files(folder, "toml") {
            let in_rules = path.parent().is_some_and(|parent| parent.ends_with("rules"));
            let file = if in_rules {
                File::Rules
            } else if path.ends_with("eventyard.toml") {
                File::Main
            } else {
                continue;
            };
            let found = mistakes(file, &std::fs::read_to_string(&path).unwrap());
            assert!(found.is_empty(), "{}: {found:#?}", path.display());
            count += 1;
        }
    }
    assert!(count >= 6, "{count} files");
}

#[test]
fn every_project_in_the_documents_fits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = files("docs", "md");
    pages.extend(["README.md", "examples/quickstart/README.md"].map(|page| root.join(page)));
    let mut count = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in text.split("\n```toml\n").skip(1) {
            let block = block.split("\n```").next().unwrap();
            // Pages of error codes show what is wrong, and parts of tables.
            if page.parent().is_some_and(|parent| parent.ends_with("errors")) || block.parse::<toml::Table>().is_err() {
                continue;
            }
            let found = mistakes(File::Main, block);
            assert!(found.is_empty(), "{}: {found:#?}\n{block}", page.display());
            count += 1;
        }
    }
    assert!(count >= 10, "{count} blocks");
}

/// What no project may say, and where; each is refused by the reader as well.
const REFUSED: &[(&str, &str)] = &[
    ("an unknown table", "[serve]\nlisten = \"127.0.0.1:1\""),
    ("an unknown key", "[server]\nlisten_on = \"127.0.0.1:1\""),
    ("a number for a text", "[server]\nlisten = 8484"),
    ("a number for a duration", "[server]\ngrace = 8"),
    ("a duration without its unit", "[store]\nretention = \"7\""),
    ("a size of another kind", "[limits]\nevent = \"1MB\""),
    ("a number out of its bounds", "[limits]\nbatch = 0"),
    ("a text for a number", "[limits]\nbatch = \"many\""),
    ("a reference with more in it", "[server]\ntoken = { env = \"T\", defualt = \"x\" }"),
    ("a source of no kind", "[source.shop]\npath = \"/shop\""),
    ("a source of an unknown kind", "[source.shop]\nkind = \"htpp\"\npath = \"/shop\""),
    ("a source that lacks a key", "[source.shop]\nkind = \"http\""),
    ("a key of another kind", "[source.shop]\nkind = \"http\"\npath = \"/shop\"\nschedule = \"@daily\""),
    ("a word that is none", "[source.n]\nkind = \"timer\"\nschedule = \"@daily\"\ncatch_up = \"newest\""),
    ("a name with a capital", "[sink.Nowhere]\nkind = \"discard\""),
    ("an alert that is none", "[channel.c]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\nalerts = [\"dead\"]"),
    ("a function of an unknown runtime", "[function.f]\nruntime = \"comand\"\ncommand = [\"./f\"]"),
    ("a command that is no list", "[function.f]\nruntime = \"command\"\ncommand = \"./f\""),
    (
        "a rule that is no list",
        "[rule]\nname = \"r\"\npattern = { type = [\"a\"] }\ntarget = { event = { type = \"b\" } }",
    ),
    ("a rule without a target", "[[rule]]\nname = \"r\"\npattern = { type = [\"a\"] }"),
    ("a rule without a condition", "[sink.s]\nkind = \"discard\"\n[[rule]]\nname = \"r\"\ntarget = { sink = \"s\" }"),
    (
        "a target that calls two things",
        "[sink.s]\nkind = \"discard\"\n[[rule]]\nname = \"r\"\npattern = { type = [\"a\"] }\ntarget = { sink = \"s\", event = { type = \"b\" } }",
    ),
    (
        "a pattern without its list",
        "[sink.s]\nkind = \"discard\"\n[[rule]]\nname = \"r\"\npattern = { type = \"a\" }\ntarget = { sink = \"s\" }",
    ),
    (
        "an operator that is none",
        "[sink.s]\nkind = \"discard\"\n[[rule]]\nname = \"r\"\npattern = { type = [{ begins = \"a\" }] }\ntarget = { sink = \"s\" }",
    ),
    (
        "a test that says not what it expects",
        "[sink.s]\nkind = \"discard\"\n[[rule]]\nname = \"r\"\npattern = { type = [\"a\"] }\ntarget = { sink = \"s\" }\ntest = { event = {} }",
    ),
];

#[test]
fn what_the_schema_refuses_the_reader_refuses_too() {
    for (what, toml) in REFUSED {
        assert!(!mistakes(File::Main, toml).is_empty(), "{what} fits the schema:\n{toml}");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("eventyard.toml"), toml).unwrap();
        let checked = run(&["check"], folder.path());
        assert_eq!(checked.code, 2, "{what} is read:\n{toml}");
    }
}

#[test]
fn for_every_text_something_may_stand() {
    let toml = r#"
[server]
listen = { env = "LISTEN", default = "127.0.0.1:8484" }
grace = { env = "GRACE", default = "8s" }

[source.github]
kind = "http"
path = "/hooks/github"
preset = "github"
secret = [{ env = "NEW", default = "new" }, { env = "OLD", default = "old" }]

[sink.orders]
kind = "http"
url = { env = "ORDERS", default = "http://127.0.0.1:9/" }
headers = { x-shop = { env = "SHOP", default = "eu" } }

[[rule]]
name = "orders"
from = [{ env = "FROM", default = "github" }]
target = { sink = { env = "TO", default = "orders" } }
"#;
    assert_eq!(mistakes(File::Main, toml), Vec::<String>::new());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("eventyard.toml"), toml).unwrap();
    let checked = run(&["check"], folder.path());
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
}

#[test]
fn the_command_prints_both_and_init_points_to_them() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, file) in
        [(&["schema"][..], File::Main), (&["schema", "eventyard"], File::Main), (&["schema", "rules"], File::Rules)]
    {
        let printed: Value = serde_json::from_str(&run(arguments, folder.path()).stdout).unwrap();
        assert_eq!(printed, document(file));
    }
    assert_eq!(run(&["schema", "functions"], folder.path()).code, 2);

    assert!(eventyard(&["init", "shop"], folder.path()).status().unwrap().success());
    for (file, schema) in [("eventyard.toml", File::Main), ("rules/orders.toml", File::Rules)] {
        let path = folder.path().join("shop").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let named = text.lines().next().unwrap().strip_prefix("#:schema ").unwrap();
        let written = std::fs::read_to_string(path.parent().unwrap().join(named)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), document(schema), "{file}");
    }
}

#[test]
fn every_key_says_what_it_does() {
    fn visit(schema: &Value, path: &str) {
        if let Some(properties) = schema["properties"].as_object() {
            for (key, told) in properties {
                let doc = told["description"].as_str().unwrap_or_default();
                let told_elsewhere = told.get("const").is_some() || told == &json!(true) || key == "$or";
                assert!(told_elsewhere || !doc.is_empty(), "{path}.{key} says not what it does");
            }
        }
        match schema {
            Value::Object(members) => members
                .iter()
                .filter(|(name, _)| *name != "$defs" && *name != "default")
                .for_each(|(name, inner)| visit(inner, &format!("{path}.{name}"))),
            Value::Array(items) => items.iter().for_each(|inner| visit(inner, path)),
            _ => {}
        }
    }
    visit(&document(File::Main), "");
}
