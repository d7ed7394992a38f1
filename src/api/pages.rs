//! Pages of lists whose items hold whole events: bounded by their bytes, not by their number alone.

use std::future::Future;

use eventyard_event::Envelope;
use eventyard_store::{Page, PageRequest, StoreError};

/// How many are read in one call of the store: so many events may come beyond the limit of bytes.
const READ_MAX: usize = 20;

/// What an event takes beside its data, roughly: attributes, and its deliveries.
const EVENT_BYTES: usize = 1024;

/// Reads a page that ends where `wanted.limit` is met, where the events on it come to `bytes_max`, or where there
/// are no more. A page that ends early has a `next`, as any other that is not the last.
pub(super) async fn within<T, Read: Future<Output = Result<Page<T>, StoreError>>>(
    bytes_max: usize,
    wanted: PageRequest,
    envelope: impl Fn(&T) -> &Envelope,
    read: impl Fn(PageRequest) -> Read,
) -> Result<Page<T>, StoreError> {
    let mut items: Vec<T> = Vec::new();
    let mut cursor = wanted.cursor;
    let mut bytes: usize = 0;
    loop {
        let limit = wanted.limit.saturating_sub(items.len()).min(READ_MAX);
        let page = read(PageRequest { limit, cursor }).await?;
        bytes += page.items.iter().map(|item| EVENT_BYTES + envelope(item).event.data.bytes().len()).sum::<usize>();
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() || items.len() >= wanted.limit || bytes >= bytes_max {
            return Ok(Page { items, next: cursor });
        }
    }
}
