//! examples/github-ci with what GitHub really sends: its README step by step, every real payload there is, and
//! secrets that must appear nowhere.

mod canary;
mod ci;
mod readme;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use self::ci::{Ci, Delivery};

/// Where `./test` puts npm's `@octokit/webhooks-examples`.
const PAYLOADS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/npm/node_modules/@octokit/webhooks-examples");

/// What the package says of one kind of event.
#[derive(Deserialize)]
struct Example {
    name: String,
    examples: Vec<Box<RawValue>>,
}

/// Every payload of every edition of GitHub, byte for byte, with the name of its event; `None`, and a line that
/// says why, where they are not installed.
#[expect(clippy::print_stdout, reason = "a test that is skipped says why")]
fn real_payloads() -> Option<Vec<(String, Box<RawValue>)>> {
    let Ok(editions) = std::fs::read_dir(PAYLOADS) else {
        println!("SKIPPED: real GitHub payloads are not installed; `./test` installs them into target/npm");
        return None;
    };
    let mut files: Vec<_> = editions.map(|edition| edition.unwrap().path().join("index.json")).collect();
    files.retain(|file| file.exists());
    files.sort();
    let mut payloads = Vec::new();
    for file in files {
        let examples: Vec<Example> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for Example { name, examples } in examples {
            payloads.extend(examples.into_iter().map(|payload| (name.clone(), payload)));
        }
    }
    assert!(payloads.len() > 300, "there are but {} payloads in {PAYLOADS}", payloads.len());
    Some(payloads)
}

/// The rule that wants an event, as the project's README tells it rather than as its patterns do.
fn wanted_by(event: &str, payload: &Value) -> Option<&'static str> {
    let text = |path: &str| payload.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let main = |branch: &str| branch == "main" || branch == "master";
    let gone = payload["deleted"] == true;
    match event {
        "push" if !gone && text("/ref").strip_prefix("refs/heads/").is_some_and(main) => Some("build-main"),
        "push" if !gone && text("/ref").starts_with("refs/tags/") => Some("publish-tag"),
        "pull_request"
            if matches!(text("/action"), "opened" | "synchronize" | "reopened")
                && main(text("/pull_request/base/ref")) =>
        {
            Some("check-pull-request")
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_real_payload_is_taken_and_goes_where_it_belongs() {
    let Some(payloads) = real_payloads() else { return };
    let ci = Ci::start();

    let mut taken: BTreeMap<String, (Option<&str>, Value)> = BTreeMap::new();
    let mut redelivered = Vec::new();
    for (place, (name, payload)) in payloads.iter().enumerate() {
        let value: Value = serde_json::from_str(payload.get()).unwrap();
        let rule = wanted_by(name, &value);
        let delivery = Delivery::new(name, payload.get(), place);
        let (status, answer) = ci.post(&delivery.signed(ci::WEBHOOK_SECRET)).await;
        assert_eq!(status, 202, "{name}: {answer:#}");
        let receipt = &answer["accepted"][0];
        let rules: Vec<&str> = rule.into_iter().collect();
        assert_eq!(receipt["rules"], serde_json::json!(rules), "{name}: {}", payload.get());
        assert_eq!((&receipt["duplicate"], &receipt["id"]), (&false.into(), &delivery.id.clone().into()));
        if rule.is_some() {
            redelivered.push((delivery, receipt["event"].clone()));
        }
        taken.insert(delivery_id(place), (rule, value));
    }
    // The button "Redeliver" sends the same again.
    for (delivery, event) in &redelivered {
        let (status, answer) = ci.post(&delivery.signed(ci::WEBHOOK_SECRET)).await;
        assert_eq!(status, 202);
        assert_eq!((&answer["accepted"][0]["duplicate"], &answer["accepted"][0]["event"]), (&true.into(), event));
    }
    ci.settled().await;

    let mut count = BTreeMap::new();
    for event in ci.all("/api/v1/events").await {
        if event["source_name"] != "github" {
            continue;
        }
        let id = event["cloudevent"]["id"].as_str().unwrap();
        let (rule, payload) = taken.remove(id).unwrap_or_else(|| panic!("{id} was never sent, or is kept twice"));
        assert_eq!(event["cloudevent"]["data"], payload, "{id} is not what was sent");
        let deliveries = event["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), usize::from(rule.is_some()), "{event:#}");
        for delivery in deliveries {
            let (state, attempts) = if rule == Some("publish-tag") { ("dead", 3) } else { ("delivered", 1) };
            assert_eq!((&delivery["state"], &delivery["attempts"]), (&state.into(), &attempts.into()), "{event:#}");
        }
        *count.entry(rule.unwrap_or("no rule")).or_insert(0_usize) += 1;
    }
    assert!(taken.is_empty(), "LOST: {:?}", taken.keys());
    println!("{} real payloads: {count:?}", payloads.len());

    // The scripts ran: once for each, and the builds of the one repository in the order of its pushes.
    let pushes = payloads.iter().map(|(name, payload)| (name, serde_json::from_str::<Value>(payload.get()).unwrap()));
    let builds: Vec<String> = pushes
        .filter(|(name, payload)| wanted_by(name, payload) == Some("build-main"))
        .map(|(_, payload)| {
            let text = |path: &str| payload.pointer(path).unwrap().as_str().unwrap().to_owned();
            format!("{} {} {}", text("/repository/full_name"), text("/ref"), text("/after"))
        })
        .collect();
    assert_eq!(ci.lines("builds.log"), builds);
    assert_eq!(ci.lines("checks.log").len(), count["check-pull-request"]);
    // Each death was told to the channel, which leads back here.
    let letters = ci.all("/api/v1/dead-letters").await;
    assert_eq!(letters.len(), count["publish-tag"]);
    let alerts = ci.lines("alerts.log");
    for letter in &letters {
        let id = letter["id"].as_str().unwrap();
        assert_eq!(letter["rule"], "publish-tag");
        let telling = format!("eventyard dead-letters replay {id}");
        assert_eq!(alerts.iter().filter(|alert| alert.contains(&telling)).count(), 1, "{id}: {alerts:#?}");
    }
    ci.stop();
}

fn delivery_id(place: usize) -> String {
    format!("72d3162e-cc78-11e3-81ab-{place:012x}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_did_not_sign_is_refused_and_leaves_no_trace() {
    let ci = Ci::start();
    let body = std::fs::read_to_string(ci.folder().join("payloads/push-main.json")).unwrap();
    let delivery = Delivery::new("push", &body, 1);
    let right = delivery.signed(ci::WEBHOOK_SECRET);
    let other_body = Delivery::new("push", &body.replace("octocat", "mallory"), 1).signed(ci::WEBHOOK_SECRET);
    let signature = |signature: Option<&str>| {
        let mut request = right.clone();
        request.signature = signature.map(str::to_owned);
        request
    };
    let mut answers = Vec::new();
    for request in [
        delivery.signed("guessed"),
        delivery.signed(""),
        signature(None),
        signature(Some("")),
        signature(Some("sha256=")),
        signature(right.signature.as_deref().map(|text| &text[7..])),
        // SHA-1, as GitHub signed once.
        signature(Some("sha1=7d38cdd689735b008b3c702edd92eea23791c5f6")),
        // The right signature of another body.
        signature(other_body.signature.as_deref()),
    ] {
        let (status, answer) = ci.post(&request).await;
        assert_eq!((status, &answer["code"]), (401, &"unauthorized".into()), "{answer:#}");
        answers.push(answer);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "a wrong signature must not tell how it was wrong");
    assert!(ci.all("/api/v1/events").await.is_empty());
    assert_eq!(ci.post(&right).await.0, 202);
    ci.stop();
}
