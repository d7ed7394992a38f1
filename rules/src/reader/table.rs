//! A table that is asked for its keys one by one.

use std::cell::{Cell, RefCell};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use eventyard_event::Name;
use toml::de::{DeTable, DeValue};

use super::value::{float, integer};
use super::{Reading, TomlValue};
use crate::codes;
use crate::diagnostic::{Diagnostic, Place};
use crate::shape::{Kind, Shape};
use crate::text::{Settings, Text};
use crate::units::{nearest, parse_duration, parse_size, show_duration, show_size};

/// What a table looks like that people write as something simpler.
const SHAPES: [(&str, &str); 5] = [
    ("target", "{ function = \"NAME\" }, or { sink = \"NAME\" }, or { http = { url = \"…\" } }"),
    ("http", "{ url = \"https://example.com/path\" }"),
    ("event", "{ type = \"…\" }"),
    ("retry", "{ attempts = 5 }"),
    ("environment", "{ NAME = \"value\" }"),
];

/// One table of a file. Its getters report what is wrong and go on; see the module's page.
pub struct Table<'t> {
    reading: &'t Reading<'t>,
    entries: &'t DeTable<'t>,
    span: Range<usize>,
    /// What messages call it, such as `[source.github]`.
    title: String,
    /// The keys that were asked for, in the order of asking: those that exist.
    known: RefCell<Vec<String>>,
    /// The keys that have been reported, or are somebody else's to report.
    excused: RefCell<Vec<String>>,
    /// What is said at the end of keys that must be there and are not, unless another key is one of them misspelt.
    lacking: RefCell<Vec<(Vec<String>, Diagnostic)>>,
    /// What it was declared to be.
    shape: Cell<Option<&'static Shape>>,
}

impl<'t> Table<'t> {
    pub(super) fn new(
        reading: &'t Reading<'t>,
        entries: &'t DeTable<'t>,
        span: Range<usize>,
        title: String,
    ) -> Table<'t> {
        let (known, excused, lacking) = (RefCell::default(), RefCell::default(), RefCell::default());
        Table { reading, entries, span, title, known, excused, lacking, shape: Cell::new(None) }
    }

    /// Says which keys the table has, before the first is asked for. From then on, in tests, asking for another one or as
    /// something else is a mistake of the program's, and so is not asking for one at all; see [`crate::shape`].
    /// Tables below it that are declared with it need not be declared again.
    pub fn declare(&self, shape: &'static Shape) {
        self.shape.set(Some(shape));
    }

    /// What is declared of a key.
    fn declared(&self, key: &str) -> Option<&'static Kind> {
        self.shape.get()?.key(key).map(|key| &key.kind)
    }

    /// Holds what a key is read as against what is declared.
    fn read_as(&self, key: &str, fits: impl Fn(&Kind) -> bool) {
        let declared = self.declared(key);
        debug_assert!(
            declared.is_none_or(|kind| matches!(kind, Kind::Foreign) || fits(kind)),
            "`{key}` of {} is declared as {declared:?} and read as something else",
            self.title
        );
    }

    /// What all tables of this file share.
    #[must_use]
    pub fn reading(&self) -> &'t Reading<'t> {
        self.reading
    }

    /// What messages call it.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Lets messages call it something better, now that more of it is known.
    pub fn set_title(&mut self, title: String) {
        self.title = title;
    }

    /// Where it begins.
    #[must_use]
    pub fn place(&self) -> Place {
        self.reading.place(self.span.clone())
    }

    /// Where the value of a key stands; the table itself where there is none.
    #[must_use]
    pub fn place_of(&self, key: &str) -> Place {
        let span = self.entries.get(key).map_or_else(|| self.span.clone(), |value| value.span());
        self.reading.place(span)
    }

    /// Whether the key is there, right or wrong. Does not count as asking for it.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value of a key, whatever it is.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&'t TomlValue<'t>> {
        debug_assert!(
            self.shape.get().is_none_or(|shape| shape.key(key).is_some()),
            "`{key}` of {} is read and not declared: declare it in the table's Shape, so that the schema has it",
            self.title
        );
        let mut known = self.known.borrow_mut();
        if !known.iter().any(|one| one == key) {
            known.push(key.to_owned());
        }
        self.entries.get(key)
    }

    /// Reports that a key's value will not do.
    pub fn refuse(&self, key: &str, code: &'static str, message: impl Into<String>, help: Option<&str>) {
        self.reading.refuse(code, self.place_of(key).span, message.into(), help.map(str::to_owned));
    }

    /// Reports a key that must be there and is not. True where it is there, be it right or wrong.
    pub fn require(&self, key: &str, help: &str) -> bool {
        let there = self.has(key);
        if !there {
            let message = format!("{} needs the key `{key}`", self.title);
            let found = Diagnostic::error_at(codes::MISSING_KEY, &self.place(), message).with_help(help);
            self.lacks(&[key], found);
        }
        there
    }

    /// A key that stands here, that nobody has asked for until now, and whose name is nearly `key`.
    #[must_use]
    pub fn nearly(&self, key: &str) -> Option<String> {
        let known = self.known.borrow();
        let names = self.entries.keys().map(|name| name.get_ref().as_ref());
        let mut unknown = names.filter(|name: &&str| *name != key && !known.iter().any(|one| one == name));
        unknown.find(|name| nearest(name, std::iter::once(key)).is_some()).map(str::to_owned)
    }

    /// Reports, when all keys are known, that one of these is missing; not so where one is there misspelt, which is
    /// then what is reported.
    pub fn lacks(&self, keys: &[&str], diagnostic: Diagnostic) {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        self.lacking.borrow_mut().push((keys, diagnostic));
    }

    /// Reports a key that later versions will have.
    pub fn reserved(&self, key: &str) {
        if let Some((at, _)) = self.entries.get_key_value(key) {
            self.excused.borrow_mut().push(key.to_owned());
            let message = format!("`{key}` is not in this version");
            let help = "the key is reserved for a later version; remove it".to_owned();
            self.reading.refuse(codes::NOT_IN_THIS_VERSION, at.span(), message, Some(help));
        }
    }

    /// Reports a key that exists, but not here.
    pub fn misplaced(&self, key: &str, help: &str) {
        if let Some((at, _)) = self.entries.get_key_value(key) {
            self.excused.borrow_mut().push(key.to_owned());
            let message = format!("`{key}` has no place in {}", self.title);
            self.reading.refuse(codes::UNKNOWN_KEY, at.span(), message, Some(help.to_owned()));
        }
    }

    /// A string or what stands for one. Secret where it was resolved, or where the key says so.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<Text> {
        self.read_as(key, |kind| matches!(kind, Kind::Text | Kind::Name | Kind::Word(_) | Kind::WordOrTable(..)));
        self.reading.text(key, self.value(key)?)
    }

    /// A string that no one minds to be seen.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<String> {
        self.text(key).map(|text| text.reveal().to_owned())
    }

    /// A string with something in it.
    #[must_use]
    pub fn filled_string(&self, key: &str) -> Option<String> {
        let text = self.string(key)?;
        if text.trim().is_empty() {
            self.refuse(key, codes::BAD_VALUE, format!("`{key}` is empty"), None);
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    #[must_use]
    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.read_as(key, |kind| matches!(kind, Kind::Boolean));
        let value = self.value(key)?;
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            self.reading.wrong_type(key, "true or false", value);
        }
        truth
    }

    /// A whole number within bounds.
    #[must_use]
    pub fn integer(&self, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        self.read_as(key, |kind| *kind == Kind::Integer(*bounds.start(), *bounds.end()));
        let value = self.value(key)?;
        if !value.get_ref().is_integer() {
            self.reading.wrong_type(key, "a whole number", value);
            return None;
        }
        let number = integer(value.get_ref()).and_then(|number| u64::try_from(number).ok());
        let fits = number.filter(|number| bounds.contains(number));
        if fits.is_none() {
            self.out_of_range(key, &bounds.start().to_string(), &bounds.end().to_string());
        }
        fits
    }

    /// The same for a `u32`.
    #[must_use]
    pub fn integer_u32(&self, key: &str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let number = self.integer(key, u64::from(*bounds.start())..=u64::from(*bounds.end()))?;
        u32::try_from(number).ok()
    }

    /// A number within bounds.
    #[must_use]
    pub fn float(&self, key: &str, bounds: RangeInclusive<f64>) -> Option<f64> {
        self.read_as(key, |kind| *kind == Kind::Number(*bounds.start(), *bounds.end()));
        let value = self.value(key)?;
        let Some(number) = float(value.get_ref()) else {
            self.reading.wrong_type(key, "a number", value);
            return None;
        };
        if !bounds.contains(&number) {
            self.out_of_range(key, &bounds.start().to_string(), &bounds.end().to_string());
            return None;
        }
        Some(number)
    }

    /// A duration within bounds.
    #[must_use]
    pub fn duration(&self, key: &str, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        self.read_as(key, |kind| *kind == Kind::Duration(*bounds.start(), *bounds.end()));
        let text = self.unit_text(key, "a duration such as \"30s\"")?;
        let Some(duration) = parse_duration(text.reveal()) else {
            let message = format!("`{key}` is no duration: `{}`", text.shown());
            let help = "write a whole number and a unit: \"250ms\", \"30s\", \"5m\", \"6h\" or \"7d\"";
            self.refuse(key, codes::BAD_DURATION, message, Some(help));
            return None;
        };
        if !bounds.contains(&duration) {
            self.out_of_range(key, &show_duration(*bounds.start()), &show_duration(*bounds.end()));
            return None;
        }
        Some(duration)
    }

    /// A size in bytes, within bounds.
    #[must_use]
    pub fn size(&self, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        self.read_as(key, |kind| *kind == Kind::Size(*bounds.start(), *bounds.end()));
        let text = self.unit_text(key, "a size such as \"64KiB\"")?;
        let Some(size) = parse_size(text.reveal()) else {
            let message = format!("`{key}` is no size: `{}`", text.shown());
            let help = "write a whole number and a unit: \"512B\", \"64KiB\", \"10MiB\" or \"1GiB\"";
            self.refuse(key, codes::BAD_SIZE, message, Some(help));
            return None;
        };
        if !bounds.contains(&size) {
            self.out_of_range(key, &show_size(*bounds.start()), &show_size(*bounds.end()));
            return None;
        }
        Some(size)
    }

    /// A string with a unit in it; a number without one gets an error that shows one with.
    fn unit_text(&self, key: &str, wanted: &str) -> Option<Text> {
        let value = self.value(key)?;
        if value.get_ref().is_integer() || value.get_ref().is_float() {
            let unit = if wanted.contains("size") { "B" } else { "s" };
            let help = integer(value.get_ref())
                .map(|number| format!("write the unit with it, in quotes: {key} = \"{number}{unit}\""));
            self.reading.wrong_type_with_help(key, wanted, value, help);
            return None;
        }
        self.reading.text(key, value)
    }

    /// A name of something.
    #[must_use]
    pub fn name(&self, key: &str) -> Option<Name> {
        self.read_as(key, |kind| matches!(kind, Kind::Name));
        let text = self.text(key)?;
        self.check_name(text.reveal(), self.place_of(key).span)
    }

    /// A list of names.
    #[must_use]
    pub fn names(&self, key: &str) -> Vec<(Name, Place)> {
        self.texts(key)
            .into_iter()
            .filter_map(|(text, span)| Some((self.check_name(text.reveal(), span.clone())?, self.reading.place(span))))
            .collect()
    }

    fn check_name(&self, text: &str, span: Range<usize>) -> Option<Name> {
        match Name::new(text) {
            Ok(name) => Some(name),
            Err(problem) => {
                self.reading.refuse(
                    codes::BAD_NAME,
                    span,
                    format!("`{text}` is no name: {problem}"),
                    suggest_name(text),
                );
                None
            }
        }
    }

    /// A list of strings.
    #[must_use]
    pub fn strings(&self, key: &str) -> Vec<String> {
        self.texts(key).into_iter().map(|(text, _)| text.reveal().to_owned()).collect()
    }

    /// A list of strings, each with its place.
    #[must_use]
    pub fn texts(&self, key: &str) -> Vec<(Text, Range<usize>)> {
        self.read_as(key, |kind| matches!(kind, Kind::Texts | Kind::Names));
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            let lone = value.get_ref().as_str().filter(|_| !crate::is_secret_key(key));
            let help = lone.map(|text| format!("write {key} = [\"{text}\"]"));
            self.reading.wrong_type_with_help(key, "a list of strings", value, help);
            return Vec::new();
        };
        items.iter().filter_map(|item| Some((self.reading.text(key, item)?, item.span()))).collect()
    }

    /// A string or a list of them, as a list.
    #[must_use]
    pub fn text_or_list(&self, key: &str) -> Vec<(Text, Range<usize>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(_) => self.texts(key),
            _ => self.reading.text(key, value).map(|text| (text, value.span())).into_iter().collect(),
        }
    }

    /// One of these words; `reserved` are those of later versions.
    #[must_use]
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)], reserved: &[&str]) -> Option<T> {
        self.read_as(
            key,
            |kind| matches!(kind, Kind::Word(known) | Kind::WordOrTable(known, _) if known.iter().eq(words.iter().map(|(word, _)| word))),
        );
        let text = self.string(key)?;
        let place = self.place_of(key);
        self.choose(&text, &place, words, reserved)
    }

    /// A list of these words.
    #[must_use]
    pub fn words<T: Copy>(&self, key: &str, words: &[(&str, T)], reserved: &[&str]) -> Vec<T> {
        self.texts(key)
            .into_iter()
            .filter_map(|(text, span)| self.choose(text.reveal(), &self.reading.place(span), words, reserved))
            .collect()
    }

    fn choose<T: Copy>(&self, text: &str, place: &Place, words: &[(&str, T)], reserved: &[&str]) -> Option<T> {
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let known = words.iter().map(|(word, _)| *word);
        let list = quoted(known.clone());
        let (code, message, help) = if reserved.contains(&text) {
            let message = format!("`{text}` is not in this version");
            (codes::NOT_IN_THIS_VERSION, message, format!("this version knows {list}"))
        } else {
            let help = match nearest(text, known) {
                Some(word) => format!("did you mean `{word}`? There are {list}"),
                None => format!("there are {list}"),
            };
            (codes::BAD_VALUE, format!("`{text}` is not known here"), help)
        };
        self.reading.refuse(code, place.span.clone(), message, Some(help));
        None
    }

    /// A table below this one. `title` is what messages call it.
    #[must_use]
    pub fn table(&self, key: &str, title: impl Into<String>) -> Option<Table<'t>> {
        let value = self.value(key)?;
        self.as_table(key, value, title.into())
    }

    /// A value as a table, wherever it stands.
    fn as_table(&self, key: &str, value: &'t TomlValue<'t>, title: String) -> Option<Table<'t>> {
        let Some(entries) = value.get_ref().as_table() else {
            let shape = SHAPES.iter().find(|(known, _)| *known == key);
            let help = shape.map(|(key, shape)| format!("write {key} = {shape}"));
            self.reading.wrong_type_with_help(key, "a table", value, help);
            return None;
        };
        let table = Table::new(self.reading, entries, value.span(), title);
        if let Some(Kind::Table(shape) | Kind::List(shape) | Kind::Tables(shape) | Kind::WordOrTable(_, shape)) =
            self.declared(key)
        {
            table.declare(shape);
        }
        Some(table)
    }

    /// `[[key]]`: all of them, in order.
    #[must_use]
    pub fn tables(&self, key: &str, title: &str) -> Vec<Table<'t>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            let help = value.get_ref().is_table().then(|| format!("write {title}, with two brackets on each side"));
            self.reading.wrong_type_with_help(key, &format!("a list of tables ({title})"), value, help);
            return Vec::new();
        };
        items.iter().filter_map(|item| self.as_table(key, item, title.to_owned())).collect()
    }

    /// `key = { … }` or `[[key]]`: one or more, in order.
    #[must_use]
    pub fn one_or_more_tables(&self, key: &str, title: &str) -> Vec<Table<'t>> {
        match self.value(key).map(|value| value.get_ref()) {
            Some(DeValue::Array(_)) => self.tables(key, title),
            _ => self.table(key, title).into_iter().collect(),
        }
    }

    /// `[key.NAME]`: all of them, by name.
    #[must_use]
    pub fn named_tables(&self, key: &str) -> Vec<(Name, Table<'t>)> {
        let Some(all) = self.table(key, format!("[{key}]")) else { return Vec::new() };
        all.entries
            .iter()
            .filter_map(|(name, value)| {
                let name = all.check_name(name.get_ref(), name.span())?;
                if !value.get_ref().is_table() {
                    let message = format!("`{key}` takes tables: [{key}.NAME]");
                    self.reading.refuse(codes::WRONG_TYPE, value.span(), message, None);
                    return None;
                }
                let title = format!("[{key}.{name}]");
                Some((name, all.as_table(key, value, title)?))
            })
            .collect()
    }

    /// All keys, in the order of their letters.
    pub fn keys(&self) -> impl Iterator<Item = &'t str> {
        self.entries.keys().map(|key| key.get_ref().as_ref())
    }

    /// Data of any shape as JSON, nothing in it resolved.
    #[must_use]
    pub fn json(&self, key: &str) -> Option<serde_json::Value> {
        self.read_as(key, |kind| matches!(kind, Kind::Object | Kind::Any));
        self.reading.plain_json(self.value(key)?)
    }

    /// The rest of the table as JSON, for someone who checks it against a list of keys of its own and reports
    /// unknown ones: what was asked for until now is left out. Strings that are references are resolved, but not
    /// below the keys in `data`, which hold data of any shape; in the place of one that cannot be resolved stands
    /// something else ([`Reading::unresolved_count`] tells). `None` where something in it is wrong.
    #[must_use]
    pub fn rest(&self, data: &[&str]) -> Option<Settings> {
        let mut both = (serde_json::Map::new(), serde_json::Map::new());
        let mut whole = true;
        let known = self.known.borrow();
        for (key, value) in self.entries {
            let key = key.get_ref().as_ref();
            if known.iter().any(|one| one == key) || self.excused.borrow().iter().any(|one| one == key) {
                continue;
            }
            self.excused.borrow_mut().push(key.to_owned());
            let settings = if data.contains(&key) {
                self.reading.plain_json(value).map(|value| Settings::new(value.clone(), value))
            } else {
                self.reading.settings(key, value)
            };
            match settings {
                Some(settings) => {
                    both.0.insert(key.to_owned(), settings.reveal().clone());
                    both.1.insert(key.to_owned(), settings.shown().clone());
                }
                None => whole = false,
            }
        }
        whole.then(|| Settings::new(both.0.into(), both.1.into()))
    }

    /// Where a path of keys (and places in lists) leads: to the last key with `key` true, else to its value. The
    /// nearest table on the way where it leads nowhere.
    #[must_use]
    pub fn place_along(&self, path: &[String], key: bool) -> Place {
        let mut span = self.span.clone();
        let mut entries = Some(self.entries);
        let mut items = None;
        for (depth, part) in path.iter().enumerate() {
            let last = depth + 1 == path.len();
            let value = match (entries, items) {
                (Some(table), _) => match table.get_key_value(part.as_str()) {
                    Some((at, _)) if last && key => return self.reading.place(at.span()),
                    Some((_, value)) => value,
                    None => break,
                },
                (None, Some(list)) => match part.parse::<usize>().ok().and_then(|at| toml_item(list, at)) {
                    Some(value) => value,
                    None => break,
                },
                (None, None) => break,
            };
            span = value.span();
            entries = value.get_ref().as_table();
            items = value.get_ref().as_array();
        }
        self.reading.place(span)
    }

    /// The keys that were asked for until now.
    #[must_use]
    pub fn known_keys(&self) -> Vec<String> {
        self.known.borrow().clone()
    }

    /// Reports one key as unknown, with the nearest of `known` and all of them.
    pub fn unknown_key(&self, path: &[String], title: &str, known: &[&str]) {
        let Some(key) = path.last() else { return };
        let help = if known.is_empty() {
            format!("{title} takes no keys")
        } else {
            // `[[rule]] `name`` is one of many, and they have the same keys.
            let kind = title.split(" `").next().unwrap_or(title);
            let kind = if kind.is_empty() { title } else { kind };
            format!("the keys of {kind} are {}", quoted(known.iter().copied()))
        };
        let label = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "no such key".to_owned(),
        };
        self.reading.push(
            Diagnostic::error_at(
                codes::UNKNOWN_KEY,
                &self.place_along(path, true),
                format!("unknown key `{key}` in {title}"),
            )
            .with_label(label)
            .with_help(help),
        );
    }

    /// Reports every key that nobody asked for, and what is missing.
    pub fn finish(self) {
        let known = self.known.borrow();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let unread = self.shape.get().and_then(|shape| shape.keys.iter().find(|key| !known.contains(&key.name)));
        debug_assert!(unread.is_none(), "{} declares a key that nobody reads: {unread:?}", self.title);
        let mut meant = Vec::new();
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) && !self.excused.borrow().iter().any(|one| one == name) {
                self.unknown_key(&[name.to_owned()], &self.title, &known);
                meant.extend(nearest(name, known.iter().copied()));
            }
        }
        for (keys, diagnostic) in self.lacking.take() {
            if !keys.iter().any(|key| meant.contains(&key.as_str())) {
                self.reading.push(diagnostic);
            }
        }
    }

    fn out_of_range(&self, key: &str, least: &str, greatest: &str) {
        let message = format!("`{key}` must lie between {least} and {greatest}");
        self.refuse(key, codes::OUT_OF_RANGE, message, None);
    }
}

fn toml_item<'t>(list: &'t toml::de::DeArray<'t>, at: usize) -> Option<&'t TomlValue<'t>> {
    list.get(at)
}

/// Words in quotes, with commas.
fn quoted<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The name that a text would be if its letters were small and its other characters dashes.
fn suggest_name(text: &str) -> Option<String> {
    let plain: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-' { c } else { '-' })
        .take(eventyard_event::NAME_BYTES_MAX)
        .collect();
    let plain = plain.trim_matches(['-', '_']);
    Name::new(plain).ok().map(|name| format!("`{name}` would be one"))
}
