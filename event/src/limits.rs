//! How much of an event is too much. Each limit has a name, and the error it causes says it.

/// The limits of one event and of a batch. [`Limits::default`] is what a project gets that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `[limits] event`: the bytes of one event as it is sent, attributes and data together.
    pub event_bytes_max: usize,
    /// `[limits] batch`: the events of one batch.
    pub batch_events_max: usize,
    /// The bytes of one attribute's value. Attributes are copied into headers, logs and indexes; data is not.
    pub attribute_bytes_max: usize,
    /// The extension attributes of one event.
    pub extensions_max: usize,
    /// The nesting of JSON data. The same as serde_json's own, so that nothing downstream can overflow.
    pub json_depth_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            event_bytes_max: 1024 * 1024,
            batch_events_max: 10_000,
            attribute_bytes_max: 4096,
            extensions_max: 64,
            json_depth_max: 127,
        }
    }
}
