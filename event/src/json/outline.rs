//! What a whole text turns out to be, and what of it is told to whoever has it checked.

use std::borrow::Cow;
use std::ops::Range;

/// Up to this many keys of one object are compared one by one; beyond it they are hashed (with the standard
/// library's keyed hash, so that a sender cannot choose colliding ones). Most objects are smaller.
pub(super) const KEYS_COMPARED_MAX: usize = 16;

/// Room that is made ahead for keys and for containers: most events have fewer, so that nothing grows while they are
/// read.
pub(super) const KEYS_EXPECTED: usize = 32;
/// See [`KEYS_EXPECTED`].
pub(super) const DEPTH_EXPECTED: usize = 8;

/// One member of the outermost object, or one element of the outermost array.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(super) struct Child<'a> {
    /// The member's name, decoded; none in an array.
    pub(super) key: Option<Cow<'a, str>>,
    /// Where its value stands, without the space around it.
    pub(super) value: Range<usize>,
}

/// What a whole text turned out to be.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(super) struct Outline {
    /// The outermost value.
    pub(super) root: Root,
    /// Whether no object, at any depth, has the same key twice, or a key with a dot.
    pub(super) keys_unique: bool,
}

/// The kind of the outermost value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    Object,
    Array,
    Scalar,
}

/// Where a child of the outermost value stands.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(super) struct Place {
    /// Its key, without the quotes; there are no escapes in it. None in an array.
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Range<usize>,
}

impl Place {
    /// The child that stands there.
    pub(super) fn in_text(self, text: &str) -> Child<'_> {
        let key = self.key.map(|key| text.get(key).unwrap_or_default());
        Child { key: key.map(Cow::Borrowed), value: self.value }
    }
}
