//! The arrows between the crates, and what the tree of dependencies may hold: read from the manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Who may depend on whom, among our own crates. ARCHITECTURE.md draws it.
const ARROWS: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("rules", &["event"]),
    ("store", &["event"]),
    ("functions", &["event"]),
    ("connectors", &["event"]),
    ("bench", &[]),
    (".", &["event", "rules", "store", "functions", "connectors"]),
];

fn manifest(folder: &str) -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("Cargo.toml");
    std::fs::read_to_string(&path).unwrap().parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dependencies(manifest: &toml::Table, section: &str) -> BTreeSet<String> {
    let table = manifest.get(section).and_then(toml::Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn arrows_between_crates_point_one_way() {
    for (folder, allowed) in ARROWS {
        let manifest = manifest(folder);
        let allowed: BTreeSet<String> = allowed.iter().map(|name| format!("eventyard-{name}")).collect();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let ours = dependencies(&manifest, section).into_iter().filter(|name| name.starts_with("eventyard"));
            let forbidden: Vec<String> = ours.filter(|name| !allowed.contains(name)).collect();
            assert!(forbidden.is_empty(), "{folder}/Cargo.toml [{section}] may not depend on {forbidden:?}");
        }
    }
}

#[test]
fn every_crate_of_the_workspace_is_in_the_drawing() {
    let root = manifest(".");
    let members = root["workspace"]["members"].as_array().unwrap();
    let drawn: BTreeSet<&str> = ARROWS.iter().map(|(folder, _)| *folder).filter(|folder| *folder != ".").collect();
    let members: BTreeSet<&str> = members.iter().map(|member| member.as_str().unwrap()).collect();
    assert_eq!(members, drawn);
}

#[test]
fn event_has_no_runtime_and_rules_no_clock_file_network_or_store() {
    let event = dependencies(&manifest("event"), "dependencies");
    for banned in ["tokio", "reqwest", "toml", "sled", "hyper"] {
        assert!(!event.contains(banned), "event depends on {banned}");
    }
    let rules = dependencies(&manifest("rules"), "dependencies");
    for banned in ["tokio", "reqwest", "sled", "hyper", "notify"] {
        assert!(!rules.contains(banned), "rules depends on {banned}");
    }
    // What a manifest cannot say: the source text of `rules` names no clock and no file.
    for file in sources("rules/src") {
        let text = std::fs::read_to_string(&file).unwrap();
        for banned in ["std::fs", "TcpStream", "UdpSocket", "std::env", "SystemTime", "Instant::now", "Timestamp::now"]
        {
            assert!(!text.contains(banned), "{} names {banned}", file.display());
        }
    }
}

#[test]
fn there_is_one_tls_stack() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        versions.entry(name).or_default().insert(package["version"].as_str().unwrap());
    }
    for banned in ["aws-lc-rs", "aws-lc-sys", "native-tls"] {
        assert!(!versions.contains_key(banned), "{banned} is in Cargo.lock");
    }
    // librdkafka knows no TLS but OpenSSL's. It stands in the lock for the one feature that asks for it, which nothing
    // else turns on.
    let uses_openssl = |package: &&toml::Value| {
        let dependencies = package.get("dependencies").and_then(toml::Value::as_array);
        dependencies.is_some_and(|all| all.iter().any(|one| one.as_str() == Some("openssl-sys")))
    };
    let users: Vec<&str> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .filter(uses_openssl)
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    assert!(users.iter().all(|user| *user == "rdkafka-sys"), "{users:?}");
    for manifest in ["Cargo.toml", "connectors/Cargo.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
        let manifest: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        for (feature, turns_on) in manifest["features"].as_table().unwrap() {
            let names =
                |wanted: &str| turns_on.as_array().unwrap().iter().any(|one| one.as_str().unwrap().contains(wanted));
            assert!(feature == "kafka-tls" || !(names("kafka-tls") || names("/ssl")), "{feature} turns on OpenSSL");
        }
    }
    for single in ["rustls", "ring", "hyper", "tokio"] {
        assert_eq!(versions.get(single).map(BTreeSet::len), Some(1), "{single}: {:?}", versions.get(single));
    }
}

/// Licences that Apache-2.0 / MIT use allows. An expression is good when each of its `AND` parts has an
/// alternative in this list.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "0BSD",
    "Unlicense",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "Apache-2.0 WITH LLVM-exception",
];

#[test]
fn every_dependency_may_be_used_under_our_licence() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    if !output.status.success() {
        // Metadata covers all platforms; without the network their packages may be missing.
        println!("skipped: cargo metadata says {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut seen = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or("");
        let expression = licence.replace('/', " OR ").replace(['(', ')'], " ");
        let good = expression.split(" AND ").all(|part| part.split(" OR ").any(|one| LICENCES.contains(&one.trim())));
        assert!(good, "{} {} is licensed `{licence}`", package["name"], package["version"]);
        seen += 1;
    }
    assert!(seen > 100, "only {seen} packages were looked at");
}

fn sources(folder: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty());
    found
}
