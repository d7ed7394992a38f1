//! An event whose rule splits it: which element a delivery is of, and what a target sees of it.
//!
//! Routing counts the elements and no more. What a delivery carries is looked up when it is attempted, by the path and
//! the number that are kept with it: an element is a piece of the stored event, and stays the one it was whatever
//! becomes of the rule.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use eventyard_event::{Data, Envelope, EventId, ExtensionValue, format_text};
use eventyard_rules::transform::Subject;
use eventyard_rules::{Elements, Path, Rule, SPLIT_DELIVERIES_MAX, over_limit};
use eventyard_store::{Element, Reason, Split, Taken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The extension attribute that says which element an event is.
pub const NUMBER: &str = "elementnumber";
/// The extension attribute that says how many elements there are.
pub const COUNT: &str = "elementcount";

/// Events whose elements are remembered while they are delivered: each holds its data, and at most 4 MiB that were
/// decoded of it.
const REMEMBERED_MAX: usize = 4;

/// Which element of a list a delivery is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ElementOf {
    /// Where the list stands in the event.
    pub path: String,
    /// Counts from 1.
    pub number: u32,
    /// How many there are.
    pub count: u32,
}

impl ElementOf {
    /// `None` for a delivery of the whole event, and for one that says that its event could not be split.
    #[must_use]
    pub fn new(element: Option<&Element>) -> Option<ElementOf> {
        let Element { path, number, count } = element.filter(|element| element.number > 0)?;
        Some(ElementOf { path: path.to_string(), number: *number, count: *count })
    }
}

/// What a rule that splits makes of an event that it matches: `None` where its list is empty, so that nothing is
/// delivered. `left` is how many deliveries splitting may still make of this event.
pub(crate) fn split(rule: &Rule, path: &Path, envelope: &Envelope, left: &mut usize) -> Option<Split> {
    let before = SPLIT_DELIVERIES_MAX.saturating_sub(*left);
    let found = Elements::find(path, envelope).ok().map(|elements| elements.count());
    let fits = found.filter(|count| over_limit(*count, rule.targets.len(), before).is_none());
    let count = match fits {
        Some(0) => return None,
        Some(count) => u32::try_from(count).unwrap_or_default(),
        // Its one delivery is given up with the reason when it is attempted: there are retries, alerts and replays
        // for it as for any other.
        None => 0,
    };
    *left = left.saturating_sub(count as usize * rule.targets.len());
    Some(Split { path: path.as_str().into(), count })
}

/// The element of an event that nobody sent, where the rule splits.
pub(crate) fn element(rule: &Rule, envelope: &Envelope, number: u32) -> Option<Element> {
    let path = rule.split.as_ref()?;
    let count = Elements::find(path, envelope).map_or(0, |elements| elements.count());
    Some(Element { path: path.as_str().into(), number, count: u32::try_from(count).unwrap_or(u32::MAX) })
}

/// A delivery as its target sees it.
pub(crate) struct Handed<'t> {
    /// With the element in the place of the data, where it is of one.
    pub(crate) taken: Cow<'t, Taken>,
    /// The same event with all of its data, where it is of an element.
    whole: Option<Envelope>,
}

impl<'t> Handed<'t> {
    /// Of the whole event.
    pub(crate) fn plain(taken: &'t Taken) -> Handed<'t> {
        Handed { taken: Cow::Borrowed(taken), whole: None }
    }

    /// What a template looks into.
    pub(crate) fn subject(&self) -> Subject<'_> {
        let element = || std::str::from_utf8(self.taken.envelope.event.data.bytes()).ok();
        match self.whole.as_ref().and_then(|whole| Some((whole, element()?))) {
            Some((event, element)) => Subject::Element { event, element },
            None => Subject::Event(&self.taken.envelope),
        }
    }
}

/// Events that were split last, so that an event is not looked through once for each of its elements.
#[derive(Default)]
pub(crate) struct Splits {
    /// The newest last. A `std::sync::Mutex`: never held over an await, nor while an event is looked through.
    remembered: Mutex<VecDeque<Arc<Found>>>,
}

/// A list that was found.
struct Found {
    event: EventId,
    path: Arc<str>,
    json: Bytes,
    spans: Vec<Range<usize>>,
    keys_unique: bool,
}

impl Splits {
    /// What a target is to see of a delivery.
    ///
    /// # Errors
    /// Why nothing can be made of this event. Another attempt would end the same way.
    pub(crate) fn hand<'t>(&self, taken: &'t Taken) -> Result<Handed<'t>, Reason> {
        let Some(element) = &taken.element else { return Ok(Handed::plain(taken)) };
        let found = self.find(taken, element)?;
        let Some(span) = (element.number as usize).checked_sub(1).and_then(|at| found.spans.get(at)) else {
            return Err(refused(element, found.spans.len()));
        };
        if found.spans.len() != element.count as usize {
            return Err(refused(element, found.spans.len()));
        }
        let mut whole = Envelope::clone(&taken.envelope);
        let event = &mut whole.event;
        event.id = format_text!("{}#{}", event.id, element.number);
        event.extensions.reserve(2);
        for (name, number) in [(NUMBER, element.number), (COUNT, element.count)] {
            let number = ExtensionValue::Integer(i32::try_from(number).unwrap_or(i32::MAX));
            event.extensions.insert(name.into(), number);
        }
        let mut envelope = whole.clone();
        envelope.keys_unique = found.keys_unique;
        envelope.event.dataschema = None;
        envelope.event.datacontenttype = Some("application/json".into());
        envelope.event.data = Data::Json(found.json.slice(span.clone()));
        let taken = Cow::Owned(Taken { envelope: Arc::new(envelope), ..taken.clone() });
        Ok(Handed { taken, whole: Some(whole) })
    }

    fn find(&self, taken: &Taken, element: &Element) -> Result<Arc<Found>, Reason> {
        let event = taken.envelope.id;
        let is_it = |found: &&Arc<Found>| found.event == event && found.path == element.path;
        if let Some(found) = self.lock().iter().find(is_it) {
            return Ok(Arc::clone(found));
        }
        let no_list = |message: String| Reason { code: "split_no_list".into(), message };
        let path = Path::new(&element.path).map_err(|error| no_list(error.to_string()))?;
        let elements = Elements::find(&path, &taken.envelope)
            .map_err(|error| Reason { code: error.code().into(), message: error.to_string() })?;
        let keys_unique = elements.keys_unique();
        let (json, spans) = elements.into_parts();
        let json = match (json, &taken.envelope.event.data) {
            (Cow::Borrowed(_), Data::Json(data)) => data.clone(),
            (json, _) => Bytes::from(json.into_owned()),
        };
        let found = Arc::new(Found { event, path: Arc::clone(&element.path), json, spans, keys_unique });
        let mut remembered = self.lock();
        while remembered.len() >= REMEMBERED_MAX {
            remembered.pop_front();
        }
        remembered.push_back(Arc::clone(&found));
        Ok(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Found>>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a delivery has no element, though there is a list with so many.
fn refused(element: &Element, found: usize) -> Reason {
    let path = &element.path;
    if element.count > 0 {
        let Element { number, count, .. } = element;
        let message =
            format!("the delivery is of element {number} of {count} at `{path}`, where {found} are found now");
        return Reason { code: "split_changed".into(), message };
    }
    if found == 0 {
        let message = format!("the list at `{path}` is empty, and makes no deliveries");
        return Reason { code: "split_no_list".into(), message };
    }
    let message = format!(
        "the list at `{path}` has {found} elements, and splitting makes at most {SPLIT_DELIVERIES_MAX} deliveries of one \
         event, all its rules and targets together (limit SPLIT_DELIVERIES_MAX)"
    );
    Reason { code: "split_limit".into(), message }
}
