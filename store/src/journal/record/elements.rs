//! Which of an event's deliveries are of elements of a list.

use std::sync::Arc;

use crate::{Element, NewDelivery, Split};

/// Known of every event that is kept in memory, and nothing for most of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Elements(Option<Arc<[Run]>>);

/// Deliveries at places that follow each other, one for each element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    first: u32,
    split: Split,
}

impl Elements {
    pub(crate) fn of(deliveries: &[NewDelivery]) -> Elements {
        if deliveries.iter().all(|delivery| delivery.split.is_none()) {
            return Elements::default();
        }
        let mut first = 0u32;
        let mut runs = Vec::new();
        for delivery in deliveries {
            runs.extend(delivery.split.clone().map(|split| Run { first, split }));
            first = first.saturating_add(u32::try_from(delivery.place_count()).unwrap_or(u32::MAX));
        }
        Elements(Some(runs.into()))
    }

    /// Whether any delivery is of an element.
    pub(crate) fn any(&self) -> bool {
        self.0.is_some()
    }

    /// The element that the delivery at a place is of.
    pub(crate) fn at(&self, place: u32) -> Option<Element> {
        let runs = self.0.as_ref()?;
        let before = runs.partition_point(|run| run.first <= place);
        let Run { first, split } = runs.get(before.checked_sub(1)?)?;
        let path = Arc::clone(&split.path);
        match place - first {
            0 if split.count == 0 => Some(Element { path, number: 0, count: 0 }),
            index if index < split.count => Some(Element { path, number: index + 1, count: split.count }),
            _ => None,
        }
    }
}
