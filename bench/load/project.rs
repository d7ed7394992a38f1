//! The project that is served: one rule, one target.

use std::path::Path;

use crate::Failure;

/// The rule's name, and its target's.
pub(crate) const RULE: &str = "large-orders";
/// See [`RULE`].
pub(crate) const TARGET: &str = "next";

/// Whom the one target calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// It succeeds and forgets.
    Discard,
    /// Nobody: all its deliveries wait. A function that sleeps for an hour and has one place: with that taken,
    /// dispatch has nothing to choose.
    Held,
}

/// Writes the project into `folder`.
pub(crate) fn write(folder: &Path, target: Target) -> Result<(), Failure> {
    std::fs::create_dir_all(folder.join("rules"))?;
    let (block, to) = match target {
        Target::Discard => ("[sink.nothing]\nkind = \"discard\"\n", "sink = \"nothing\""),
        Target::Held => (
            "[function.hold]\nruntime = \"command\"\ncommand = [\"sleep\", \"3600\"]\ntimeout = \"1h\"\n",
            "function = \"hold\"\nconcurrency = 1",
        ),
    };
    std::fs::write(folder.join("eventyard.toml"), format!("[server]\nlisten = \"127.0.0.1:8484\"\n\n{block}"))?;
    let rule = format!(
        "[[rule]]\nname = \"{RULE}\"\n[rule.pattern]\ntype = [\"order.created\"]\n\
         data.amount = [{{ numeric = [\">\", 1000] }}]\n\n[[rule.target]]\nname = \"{TARGET}\"\n{to}\n"
    );
    std::fs::write(folder.join("rules/orders.toml"), rule)?;
    Ok(())
}
