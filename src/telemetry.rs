//! What the broker says of itself: metrics and logs. Both are an API: a name that people alert on stays.

pub mod logs;
pub mod metrics;
