//! How much a pattern may ask for. Each limit is far above what people write, and keeps one rule from costing
//! what all others together cost. The errors say the limit's name and number.

/// The values that one field, or one `anything-but`, may list.
pub const ALTERNATIVES_MAX: usize = 10_000;

/// The fields that one rule may look at after `$or` was multiplied out; event-ruler has the same limit.
pub const FIELDS_MAX: usize = 256;

/// How deep a pattern may be nested; events themselves end at 127.
pub const DEPTH_MAX: usize = 100;

/// The `*` of one wildcard. Each costs one search through the text that is left, never a search that goes back.
pub const STARS_MAX: usize = 64;

/// The combinations that the `$or` of one pattern may multiply out to; EventBridge has the same limit.
pub const OR_COMBINATIONS_MAX: usize = 1_000;

/// The mistakes that one pattern reports; whoever has made this many will look at the first.
pub(crate) const ERRORS_MAX: usize = 100;
