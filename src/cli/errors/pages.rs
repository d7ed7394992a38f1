//! The pages of `docs/errors/`, as a table. Sorted by code; a test holds it against the folder.

macro_rules! pages {
    ($($code:literal)*) => {
        &[$(($code, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors/", $code, ".md")))),*]
    };
}

/// Each code with its page.
pub(super) const PAGES: &[(&str, &str)] = pages! {
    "body_too_large"
};
