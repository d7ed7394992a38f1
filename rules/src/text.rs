//! Strings out of a project, some of which nobody may see.

use std::fmt;

use serde::{Serialize, Serializer};

/// What stands where a secret may not be shown.
pub const HIDDEN: &str = "***";

/// A string out of a project. Where it is a secret (it came from the environment or a file, or its key is called
/// secret, token or password), `Debug`, `Display` and serde show [`HIDDEN`] instead; only [`Text::reveal`]
/// gives it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text {
    value: String,
    secret: bool,
}

impl Text {
    /// A string that may be shown.
    #[must_use]
    pub fn plain(value: impl Into<String>) -> Text {
        Text { value: value.into(), secret: false }
    }

    /// A string that may not be shown.
    #[must_use]
    pub fn secret(value: impl Into<String>) -> Text {
        Text { value: value.into(), secret: true }
    }

    /// The string itself: for whom it is meant, and never into a log, an error, an answer or the data folder.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.value
    }

    /// Whether it is hidden from logs and answers.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// What may be shown of it.
    #[must_use]
    pub fn shown(&self) -> &str {
        if self.secret { HIDDEN } else { &self.value }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.shown(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

/// The checked settings of a source, a sink or an http target, as JSON for whoever builds it, with the secrets
/// in them hidden from everybody else: `Debug` and serde show [`HIDDEN`] in their places.
#[derive(Clone, Default, PartialEq)]
pub struct Settings {
    value: serde_json::Value,
    shown: serde_json::Value,
}

impl Settings {
    /// Settings, and the same with each secret replaced by [`HIDDEN`].
    #[must_use]
    pub fn new(value: serde_json::Value, shown: serde_json::Value) -> Settings {
        Settings { value, shown }
    }

    /// Everything, secrets in clear: for the connector that is built from it, and for nobody else.
    #[must_use]
    pub fn reveal(&self) -> &serde_json::Value {
        &self.value
    }

    /// What may be shown.
    #[must_use]
    pub fn shown(&self) -> &serde_json::Value {
        &self.shown
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.shown, f)
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows() {
        let secret = Text::secret("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** \"***\"");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert_eq!(secret.reveal(), "hunter2");
        let settings = Settings::new(serde_json::json!({"token": "hunter2"}), serde_json::json!({"token": HIDDEN}));
        assert!(!format!("{settings:?}{}", serde_json::to_string(&settings).unwrap()).contains("hunter2"));
    }
}
