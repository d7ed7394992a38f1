//! From what was written to a [`Pattern`]: structure, `$or`, and every mistake.
//!
//! `$or` is multiplied out on the way, as event-ruler does: what is kept is a list of branches, each a plain AND of
//! fields, and an event matches if one branch does.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::ops::Range;
use std::sync::Arc;

use super::error::PatternError;
use super::limits::{ALTERNATIVES_MAX, DEPTH_MAX, ERRORS_MAX, FIELDS_MAX, OR_COMBINATIONS_MAX};
use super::operators::{OPERATORS, RESERVED, nearest};
use super::{Branch, Field, Pattern, codes};
use crate::syntax::{Dialect, Entry, Node, Value, write_key};

/// Where spans of what is read lie in the text that they are reported in.
pub(crate) type SpanMap<'m> = &'m dyn Fn(Range<usize>) -> Option<Range<usize>>;

/// Builds a pattern from the node that holds it.
pub(crate) fn build(node: &Node<'_>, dialect: Dialect, map: SpanMap<'_>) -> Result<Pattern, Vec<PatternError>> {
    let mut builder = Builder {
        dialect,
        map,
        errors: Vec::new(),
        path: String::new(),
        keys: 0,
        branches: vec![BTreeMap::new()],
        scope: 0,
        scopes: 1,
        overflow: false,
    };
    match &node.value {
        Value::Object(entries) => builder.object(node, entries, 0),
        other => {
            let message = format!("a pattern is a table of fields, and this is {}", other.kind());
            let help = "name a field and list what it may be: type = [\"order.created\"]".to_owned();
            builder.error(codes::SHAPE, node, &message, Some(help));
        }
    }
    builder.finish(node)
}

/// A field with the `$or` alternative it was written in.
#[derive(Clone)]
struct Written {
    field: Arc<Field>,
    scope: usize,
}

pub(crate) struct Builder<'b> {
    dialect: Dialect,
    map: SpanMap<'b>,
    errors: Vec<PatternError>,
    /// The path of the field that is being read.
    path: String,
    /// How many keys it is made of: an empty key is one, too.
    keys: usize,
    branches: Vec<BTreeMap<Arc<str>, Written>>,
    /// The `$or` alternative that is being read; 0 outside of any.
    scope: usize,
    scopes: usize,
    /// `$or` multiplied out to more than the limit: reported once, and no longer multiplied.
    overflow: bool,
}

impl Builder<'_> {
    pub(crate) fn error(&mut self, code: &'static str, node: &Node<'_>, message: &str, help: Option<String>) {
        self.error_at(code, node.span.clone(), message, help);
    }

    pub(crate) fn error_at(&mut self, code: &'static str, span: Range<usize>, message: &str, help: Option<String>) {
        if self.errors.len() < ERRORS_MAX {
            let message = message.to_owned();
            self.errors.push(PatternError { code, span: (self.map)(span), path: self.path.clone(), message, help });
        }
    }

    pub(crate) fn too_many_alternatives(&mut self, node: &Node<'_>, count: usize) {
        let message = format!("{count} values are listed; the most is {ALTERNATIVES_MAX} (limit ALTERNATIVES_MAX)");
        let help = "what they have in common may be said by prefix, wildcard or numeric".to_owned();
        self.error(codes::LIMIT, node, &message, Some(help));
    }

    /// Reads one object of fields.
    fn object(&mut self, node: &Node<'_>, entries: &[Entry<'_>], depth: usize) {
        if entries.is_empty() {
            let help = "list what a field may be, or leave the pattern out and say `from`".to_owned();
            self.error(codes::EMPTY, node, "an empty table asks for nothing", Some(help));
        }
        if depth > DEPTH_MAX {
            let message = format!("the pattern is nested deeper than {DEPTH_MAX} (limit DEPTH_MAX)");
            self.error(codes::LIMIT, node, &message, None);
            return;
        }
        for (place, entry) in entries.iter().enumerate() {
            if entries[..place].iter().any(|earlier| earlier.key == entry.key) {
                let message = format!("`{}` is there twice", entry.key);
                let help = if entry.key == "$or" {
                    "put the second `$or` inside the alternatives of the first"
                } else {
                    "join the two: only one of them could count"
                };
                self.error_at(codes::DUPLICATE, entry.key_span.clone(), &message, Some(help.into()));
                continue;
            }
            if entry.key == "$or" {
                self.or(&entry.node, depth);
            } else {
                self.entry(entry, depth);
            }
        }
    }

    /// Reads one field, or one object of fields below a name.
    fn entry(&mut self, entry: &Entry<'_>, depth: usize) {
        let top = self.keys == 0;
        // `$.data.id` is another way to write `data.id`, and nothing at the top of an event starts with `$`.
        let key = if top { entry.key.strip_prefix("$.").unwrap_or(&entry.key) } else { &entry.key };
        let length = self.path.len();
        if !top {
            self.path.push('.');
        }
        self.path.push_str(key);
        self.keys += 1;
        if top && self.names_are_wrong(key, entry) {
            self.path.truncate(length);
            self.keys -= 1;
            return;
        }
        if self.scope > 0 && RESERVED.contains(&key) {
            let message = format!("`{key}` is the name of an operator, and inside `$or` no field can be called so");
            let help = "each alternative of `$or` is a table of fields: { field = [ … ] }".to_owned();
            self.error_at(codes::RESERVED, entry.key_span.clone(), &message, Some(help));
        } else {
            match &entry.node.value {
                Value::Object(inner) => self.object(&entry.node, inner, depth + 1),
                Value::Array(items) => self.field(key, entry, items),
                _ => self.bare_value(key, entry),
            }
        }
        self.path.truncate(length);
        self.keys -= 1;
    }

    /// Names that cannot stand at the top of an event and that people write there all the same.
    fn names_are_wrong(&mut self, key: &str, entry: &Entry<'_>) -> bool {
        let (code, message, help) = match key {
            "detail-type" | "detail_type" | "detailType" => (
                codes::DETAIL,
                format!("`{key}` is EventBridge's name; events are CloudEvents here and call it `type`"),
                "write `type`".to_owned(),
            ),
            "detail" => (
                codes::DETAIL,
                "`detail` is EventBridge's name; events are CloudEvents here and call it `data`".to_owned(),
                "write `data`".to_owned(),
            ),
            _ if key.starts_with("detail.") => (
                codes::DETAIL,
                "`detail` is EventBridge's name; events are CloudEvents here and call it `data`".to_owned(),
                format!("write `data{}`", key.trim_start_matches("detail")),
            ),
            _ if key.starts_with('$') => (
                codes::OPERATOR,
                format!("there is no operator `{key}`"),
                match nearest(key, &["$or"]) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => "the only operator that stands in the place of a field is `$or`".to_owned(),
                },
            ),
            _ => return false,
        };
        self.error_at(code, entry.key_span.clone(), &message, Some(help));
        true
    }

    /// `amount = 5`: shows `amount = [5]`.
    fn bare_value(&mut self, key: &str, entry: &Entry<'_>) {
        let shown = entry.node.value.show(self.dialect);
        let mut help = "write ".to_owned();
        let message = if OPERATORS.contains(&key) {
            // `amount = { prefix = "a" }`: the operator is there, the list around it is not.
            help.push_str("the operator in a list: [");
            help.push_str(if self.dialect == Dialect::Toml { "{ " } else { "{" });
            write_key(key, self.dialect, &mut help);
            help.push_str(&shown);
            help.push_str(if self.dialect == Dialect::Toml { " }]" } else { "}]" });
            format!("`{key}` stands in the place of a field, and its value is not in a list")
        } else {
            write_key(key, self.dialect, &mut help);
            help.push_str(&format!("[{shown}]"));
            format!("`{}` has a bare value; a pattern lists the values that it accepts", self.path)
        };
        self.error(codes::BARE_VALUE, &entry.node, &message, Some(help));
    }

    /// Reads the list of a field and puts it into every branch.
    fn field(&mut self, key: &str, entry: &Entry<'_>, items: &[Node<'_>]) {
        if items.is_empty() {
            let message = format!("`{}` has an empty list, which nothing could match", self.path);
            let mut help = "for a field that must not be there, write ".to_owned();
            write_key(key, self.dialect, &mut help);
            help.push_str(if self.dialect == Dialect::Toml { "[{ exists = false }]" } else { "[{\"exists\": false}]" });
            self.error(codes::EMPTY, &entry.node, &message, Some(help));
            return;
        }
        if items.len() > ALTERNATIVES_MAX {
            self.too_many_alternatives(&entry.node, items.len());
            return;
        }
        if key == "numeric" && is_comparison(items) {
            // event-ruler would take this for a field called `numeric` that may be ">" or the number.
            let shown = entry.node.value.show(self.dialect);
            let help = match self.dialect {
                Dialect::Toml => format!("write [{{ numeric = {shown} }}]"),
                Dialect::Json => format!("write [{{\"numeric\": {shown}}}]"),
            };
            let message = "`numeric` stands in the place of a field: the list around the operator is missing";
            self.error_at(codes::BARE_VALUE, entry.key_span.clone(), message, Some(help));
            return;
        }
        let accepts: Vec<_> = items.iter().filter_map(|item| self.alternative(item)).collect();
        let path: Arc<str> = Arc::from(self.path.as_str());
        let field = Arc::new(Field::new(Arc::clone(&path), accepts));
        let mut twice = false;
        for branch in &mut self.branches {
            let written = Written { field: Arc::clone(&field), scope: self.scope };
            match branch.entry(Arc::clone(&path)) {
                Slot::Vacant(slot) => {
                    slot.insert(written);
                }
                // What `$or` says of a path replaces what stands outside of it, and the other way round where the
                // outside comes later: the last word counts. Within one alternative a second word is a mistake.
                Slot::Occupied(mut slot) => {
                    twice |= slot.get().scope == self.scope;
                    slot.insert(written);
                }
            }
        }
        if twice {
            let message = format!("`{path}` is there twice");
            let help = "dots in a key lead downwards, so these are one path; join the two lists".to_owned();
            self.error_at(codes::DUPLICATE, entry.key_span.clone(), &message, Some(help));
        }
    }

    /// Reads `$or`: each branch so far goes on once for each alternative.
    fn or(&mut self, node: &Node<'_>, depth: usize) {
        let help = "write `$or` with a list of tables: \"$or\" = [{ a = [1] }, { b = [2] }]";
        let Value::Array(items) = &node.value else {
            let message = format!("`$or` takes a list of tables, and this is {}", node.value.kind());
            self.error(codes::OR, node, &message, Some(help.into()));
            return;
        };
        if items.len() < 2 {
            self.error(codes::OR, node, "`$or` needs at least two alternatives", Some(help.into()));
        }
        if !self.overflow && self.branches.len().saturating_mul(items.len()) > OR_COMBINATIONS_MAX {
            self.overflow = true;
            let message = format!(
                "the `$or` of this pattern multiply out to more than {OR_COMBINATIONS_MAX} combinations \
                 (limit OR_COMBINATIONS_MAX)"
            );
            self.error(codes::LIMIT, node, &message, Some("make rules of the alternatives".into()));
        }
        let so_far = if self.overflow { vec![BTreeMap::new()] } else { std::mem::take(&mut self.branches) };
        let scope = self.scope;
        let mut multiplied = Vec::new();
        for item in items {
            let Value::Object(entries) = &item.value else {
                let message =
                    format!("an alternative of `$or` is a table of fields, and this is {}", item.value.kind());
                self.error(codes::OR, item, &message, Some(help.into()));
                continue;
            };
            self.scope = self.scopes;
            self.scopes += 1;
            self.branches.clone_from(&so_far);
            self.object(item, entries, depth + 1);
            multiplied.append(&mut self.branches);
        }
        self.scope = scope;
        self.branches = if self.overflow || multiplied.is_empty() { vec![BTreeMap::new()] } else { multiplied };
    }

    fn finish(mut self, node: &Node<'_>) -> Result<Pattern, Vec<PatternError>> {
        if self.branches.iter().any(|branch| branch.len() > FIELDS_MAX) {
            let message = format!("the pattern looks at more than {FIELDS_MAX} fields (limit FIELDS_MAX)");
            self.path.clear();
            self.error(codes::LIMIT, node, &message, None);
        }
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let branches = self.branches.into_iter();
        let branches = branches.map(|branch| Branch { fields: branch.into_values().map(|w| w.field).collect() });
        Ok(Pattern { branches: branches.collect() })
    }
}

/// `[">", 5]` and the like: what only an operator would be given.
fn is_comparison(items: &[Node<'_>]) -> bool {
    let sign = |node: &Node<'_>| matches!(&node.value, Value::String(text) if matches!(&**text, "=" | "<" | "<=" | ">" | ">="));
    let number = |node: &Node<'_>| matches!(node.value, Value::Number(_));
    matches!(items, [first, second, ..] if sign(first) && number(second))
}
