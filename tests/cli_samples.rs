//! Events of known senders, sent by hand: `eventyard events send github.push --sign --wait`.

use crate::support::{Broker, Ended, free_port, project, run};

const MAIN: &str = r#"
[server]
listen = "127.0.0.1:PORT"

[source.github]
kind = "http"
path = "/hooks/{team}"
preset = "github"
secret = ["this years", "last years"]

[source.shop]
kind = "http"
path = "/shop/payments"
preset = "stripe"
secret = "whsec_shop"

[source.club]
kind = "http"
path = "/club/payments"
preset = "stripe"
secret = "whsec_club"

[source.chat]
kind = "http"
path = "/chat"
preset = "slack"
secret = "chat"

[sink.nowhere]
kind = "discard"

[[rule]]
name = "pushes"
from = ["github"]
pattern = { type = ["github.push"], data.ref = ["refs/heads/main"], paramteam = ["sample"] }
target = { sink = "nowhere" }

[[rule]]
name = "paid"
from = ["club"]
pattern = { data.data.object.amount_paid = [{ numeric = [">", 1000] }] }
target = { sink = "nowhere" }
"#;

fn start() -> (tempfile::TempDir, Broker) {
    let folder = project(&[("eventyard.toml", &MAIN.replace("PORT", &free_port().to_string()))]);
    let broker = Broker::start("run", folder.path());
    (folder, broker)
}

#[test]
fn a_known_senders_event_is_signed_sent_and_followed() {
    let (folder, _broker) = start();
    let send = |arguments: &[&str]| -> Ended {
        let all: Vec<&str> = ["events", "send"].iter().chain(arguments).copied().collect();
        run(&all, folder.path())
    };

    let pushed = send(&["github.push", "--sign", "--wait"]);
    assert_eq!(pushed.code, 0, "{}{}", pushed.stdout, pushed.stderr);
    for wanted in ["POST /hooks/sample (source github)", "accepted ", "rules: pushes", "delivered"] {
        assert!(pushed.stdout.contains(wanted), "`{wanted}` is missing:\n{}", pushed.stdout);
    }

    // Who does not sign proves nothing.
    let unsigned = send(&["github.push"]);
    assert_eq!(unsigned.code, 1);
    assert!(unsigned.stderr.contains("[unauthorized]"), "{}", unsigned.stderr);

    // The same delivery twice is the same event.
    let twice = ["github.push", "--sign", "--id", "72d3162e"];
    assert!(send(&twice).stdout.contains("accepted "));
    assert!(send(&twice).stdout.contains("duplicate "));

    // Of two sources that wait for it, one is chosen; a body of one's own is signed as well.
    let unclear = send(&["stripe.invoice.paid", "--sign"]);
    assert_eq!(unclear.code, 2);
    assert!(
        unclear.stderr.contains("--to: shop, club") || unclear.stderr.contains("--to: club, shop"),
        "{}",
        unclear.stderr
    );
    let body = r#"{"id": "evt_9", "type": "invoice.paid", "data": {"object": {"amount_paid": 1001}}}"#;
    let paid = send(&["stripe.invoice.paid", "--sign", "--to", "club", "--data", body, "--wait", "--json"]);
    assert_eq!(paid.code, 0, "{}", paid.stderr);
    let answer: serde_json::Value = serde_json::from_str(&paid.stdout).unwrap();
    assert_eq!((&answer["accepted"][0]["id"], &answer["accepted"][0]["rules"][0]), (&"evt_9".into(), &"paid".into()));

    // Slack asks whether somebody is here, and hears its own words.
    let greeted = send(&["slack.url_verification", "--sign", "--id", "3eZbrw1a"]);
    assert_eq!(greeted.code, 0, "{}", greeted.stderr);
    assert!(greeted.stdout.contains("answered 200 OK: 3eZbrw1a"), "{}", greeted.stdout);
    assert!(!run(&["events", "list"], folder.path()).stdout.contains("url_verification"));
}

#[test]
fn what_cannot_be_sent_is_said_with_what_can() {
    let folder = project(&[("eventyard.toml", &MAIN.replace("PORT", &free_port().to_string()))]);
    for (arguments, wanted) in [
        (&["github.gollum", "--sign"][..], "github.pull_request"),
        (&["gitlab.push", "--sign"], "no source of this project has preset = \"gitlab\""),
        (&["stripe.invoice.paid", "--to", "chat"], "does not wait for stripe; these do: "),
        (&["github.push", "--count", "3"], "--count do not go with it"),
        (&["event.json", "--sign"], "events send --samples"),
        (&["gitub.push"], "gitub.push"),
    ] {
        let all: Vec<&str> = ["events", "send"].iter().chain(arguments).copied().collect();
        let ended = run(&all, folder.path());
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.stdout);
        assert!(ended.stderr.contains(wanted), "{arguments:?}: {}", ended.stderr);
    }
    let listed = run(&["events", "send", "--samples"], folder.path());
    assert!(listed.stdout.lines().any(|line| line == "slack.url_verification"), "{}", listed.stdout);
}
