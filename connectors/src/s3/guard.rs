//! Keeps what a source brought in from coming in by it again.
//!
//! Every event of an s3 source has the attribute `eventyardvia`: the marks of the s3 sources that it came through, its
//! own last. Events that rules make of it keep that attribute, and the s3 sink writes it to each object as the metadata
//! `eventyard-via`. A source that finds its own mark there passes the object over. So an object may go through any
//! number of buckets, and through each source once.

use eventyard_event::{Event, ExtensionValue, Name};
use sha2::{Digest, Sha256};

use super::client::Bucket;

/// The attribute of an event that names the sources it came through.
pub const VIA: &str = "eventyardvia";

/// The metadata of an object that does the same.
pub(super) const VIA_METADATA: &str = "eventyard-via";

/// The most sources that something may come through: as many hops as events may make within the broker. What has come
/// this far goes in a circle.
const VIA_MAX: usize = 16;

/// What tells this source from every other that writes marks, in other brokers too.
pub(super) fn mark(name: &Name, bucket: &Bucket, prefix: &str) -> String {
    let digest = digest(&[name.as_str(), bucket.endpoint(), bucket.name(), prefix]);
    format!("{name}-{:08x}", digest >> 32)
}

/// Eight bytes of the hash of some texts, in their order.
pub(super) fn digest(texts: &[&str]) -> u64 {
    let mut sum = Sha256::new();
    for text in texts {
        sum.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
        sum.update(text.as_bytes());
    }
    let mut first = [0; 8];
    first.iter_mut().zip(sum.finalize()).for_each(|(to, from)| *to = from);
    u64::from_be_bytes(first)
}

/// The sources that an event came through.
pub(super) fn via_of(event: &Event) -> Option<&str> {
    match event.extensions.get(VIA) {
        Some(ExtensionValue::String(via)) if is_via(via) => Some(via),
        _ => None,
    }
}

/// Marks that a header can carry: who else writes such metadata is not known.
fn is_via(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b',');
    !text.is_empty() && text.len() <= 2048 && text.bytes().all(good)
}

/// The marks of a new event, from those of its object; `None` where it came through here before, or through too many.
pub(super) fn follow(before: Option<&str>, mark: &str) -> Option<String> {
    let before = before.filter(|via| is_via(via)).unwrap_or_default();
    let known = || before.split(',').filter(|one| !one.is_empty());
    if known().any(|one| one == mark) || known().count() >= VIA_MAX {
        return None;
    }
    Some(known().chain([mark]).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_passed_once() {
        assert_eq!(follow(None, "in-1").as_deref(), Some("in-1"));
        assert_eq!(follow(Some("in-1"), "mid-2").as_deref(), Some("in-1,mid-2"));
        assert_eq!(follow(Some("in-1,mid-2"), "in-1"), None);
        // A mark that merely begins alike is another's.
        assert_eq!(follow(Some("in-11"), "in-1").as_deref(), Some("in-11,in-1"));
        let many = (0..VIA_MAX).map(|number| format!("s-{number}")).collect::<Vec<_>>().join(",");
        assert_eq!(follow(Some(&many), "in-1"), None);
    }

    #[test]
    fn marks_that_somebody_else_made_up_are_none() {
        assert_eq!(follow(Some("\r\nx: y"), "in-1").as_deref(), Some("in-1"));
        assert_eq!(follow(Some(&"a".repeat(4000)), "in-1").as_deref(), Some("in-1"));
        assert_eq!(follow(Some(",,"), "in-1").as_deref(), Some("in-1"));
    }
}
