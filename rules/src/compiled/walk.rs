//! The pass over an event: collects the values that stand at paths that some rule asks for.

use std::borrow::Cow;
use std::fmt::Write as _;

use eventyard_event::json::Skimmed;
use eventyard_event::{Envelope, ExtensionValue};

use super::paths::{NONE, Node, Paths, ROOT};
use super::scan::{Quoted, Scanner};
use super::scratch::{Context, Leaf, LeafKind, List, Scratch};

/// How deep the pass follows an event. Intake lets 127 levels through, to which come those of the event around its data.
const DEPTH_MAX: usize = 160;

/// Collects from an envelope: its attributes and extensions, its tags, and its data where that is JSON or seen as such.
/// Gives back the JSON that leaves stand in.
pub(super) fn walk_envelope<'e>(envelope: &'e Envelope, paths: &Paths, scratch: &mut Scratch) -> Cow<'e, [u8]> {
    let event = &envelope.event;
    let mut children = paths.children_count(ROOT);
    let attributes: [(&str, Option<&str>); 8] = [
        ("specversion", Some("1.0")),
        ("id", Some(&event.id)),
        ("source", Some(&event.source)),
        ("type", Some(&event.ty)),
        ("subject", event.subject.as_deref()),
        ("time", event.time.as_deref()),
        ("datacontenttype", event.datacontenttype.as_deref()),
        ("dataschema", event.dataschema.as_deref()),
    ];
    for (name, value) in attributes {
        let node = child(paths, name);
        if node != NONE {
            children -= 1;
            if let Some(value) = value {
                keep(paths, scratch, node, LeafKind::String, value.as_bytes());
            }
        }
    }
    let tags = child(paths, "tags");
    if tags != NONE {
        children -= 1;
        envelope.tags.iter().for_each(|tag| keep(paths, scratch, tags, LeafKind::String, tag.as_bytes()));
    }
    let data = child(paths, "data");
    children -= usize::from(data != NONE);
    if children > 0 {
        for (name, value) in event.extensions.iter().filter(|(name, _)| !matches!(name.as_str(), "tags" | "data")) {
            let node = paths.follow(ROOT, name.as_bytes(), 0, name.len());
            if node == NONE {
                continue;
            }
            match value {
                ExtensionValue::String(value) => keep(paths, scratch, node, LeafKind::String, value.as_bytes()),
                ExtensionValue::Boolean(true) => keep(paths, scratch, node, LeafKind::True, b""),
                ExtensionValue::Boolean(false) => keep(paths, scratch, node, LeafKind::False, b""),
                ExtensionValue::Integer(value) => {
                    let mut text = Digits::default();
                    let _ = write!(text, "{value}");
                    keep(paths, scratch, node, LeafKind::Number, text.bytes());
                }
            }
        }
    }
    if data != NONE
        && let Some(seen) = event.seen_data()
    {
        walk_json(&seen.json, data, seen.keys_unique.unwrap_or(envelope.keys_unique), paths, scratch);
        return seen.json;
    }
    Cow::Borrowed(&[])
}

/// The same from an event that was looked at where it stands: its text is what leaves stand in.
pub(super) fn gather(event: &Skimmed<'_>, tags: &[String], paths: &Paths, scratch: &mut Scratch) {
    for tag in tags {
        let node = child(paths, "tags");
        if node != NONE {
            keep(paths, scratch, node, LeafKind::String, tag.as_bytes());
        }
    }
    let bytes = event.text().as_bytes();
    for found in event.found() {
        let (start, end) = (found.place.start, found.place.end);
        if found.is_folded {
            let scanner = Scanner::from(bytes, start);
            Walk { scanner, paths, scratch, keys_unique: true, is_over: false, depth: 0 }.value(found.asked, 0, false);
            continue;
        }
        let slot = paths.slot(found.asked);
        if slot == NONE {
            continue;
        }
        let (kind, start, end) = match bytes.get(start) {
            Some(b'"') => (LeafKind::String, start + 1, end - 1),
            Some(first) => (LeafKind::of(*first), start, end),
            None => continue,
        };
        scratch.add_leaf(slot, Leaf::at(kind, number(start), number(end), 0));
    }
}

/// Where a key of an event leads that is looked at where it stands.
pub(super) fn asks(paths: &Paths, from: u32, key: &str) -> u32 {
    // Tags are the broker's to say, whatever a sender calls so.
    if from == ROOT && key == "tags" { NONE } else { paths.child(from, key.as_bytes(), 0, key.len()) }
}

/// Collects from a JSON text, beginning at a node. `keys_unique` says that no object in it has a key twice or one with
/// a dot, so that the pass may end as soon as every path was met.
pub(super) fn walk_json(json: &[u8], node: u32, keys_unique: bool, paths: &Paths, scratch: &mut Scratch) {
    let mut walk = Walk { scanner: Scanner::new(json), paths, scratch, keys_unique, is_over: false, depth: 0 };
    walk.scanner.skip_space();
    walk.value(node, 0, true);
}

fn child(paths: &Paths, name: &str) -> u32 {
    paths.child(ROOT, name.as_bytes(), 0, name.len())
}

/// Adds a leaf whose text is copied.
fn keep(paths: &Paths, scratch: &mut Scratch, node: u32, kind: LeafKind, text: &[u8]) {
    let slot = paths.slot(node);
    if slot != NONE {
        keep_at(scratch, slot, kind, text);
    }
}

/// Adds a leaf to a slot that has no path.
pub(super) fn keep_at(scratch: &mut Scratch, slot: u32, kind: LeafKind, text: &[u8]) {
    let start = scratch.kept.len();
    scratch.kept.extend_from_slice(text);
    let leaf = Leaf { kept: true, ..Leaf::at(kind, number(start), number(scratch.kept.len()), 0) };
    scratch.add_leaf(slot, leaf);
}

/// Texts of more than four gibibytes never get here.
#[inline]
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

struct Walk<'d, 'w> {
    scanner: Scanner<'d>,
    paths: &'w Paths,
    scratch: &'w mut Scratch,
    keys_unique: bool,
    /// Nothing more can be found, or the text is no JSON.
    is_over: bool,
    depth: usize,
}

impl Walk<'_, '_> {
    /// Reads the value at the cursor, which stands at the path of `node`. With `is_last` there is nothing left to be
    /// found once it has been read.
    fn value(&mut self, node: u32, context: u32, is_last: bool) {
        match self.scanner.peek() {
            b'{' => self.nested(|walk| walk.object(node, context, is_last)),
            b'[' => self.nested(|walk| walk.list(node, context)),
            b'"' => match self.scanner.string() {
                Some(quoted) => self.string(node, context, quoted),
                None => self.is_over = true,
            },
            first => {
                let (start, end) = self.scanner.scalar();
                self.leaf(node, context, LeafKind::of(first), start, end);
            }
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self)) {
        if self.depth >= DEPTH_MAX {
            self.is_over = true;
            return;
        }
        self.depth += 1;
        read(self);
        self.depth -= 1;
    }

    #[inline]
    fn leaf(&mut self, node: u32, context: u32, kind: LeafKind, start: usize, end: usize) {
        let slot = self.paths.slot(node);
        if slot != NONE {
            self.scratch.add_leaf(slot, Leaf::at(kind, number(start), number(end), context));
        }
    }

    #[inline]
    fn string(&mut self, node: u32, context: u32, quoted: Quoted) {
        if !quoted.has_escapes {
            self.leaf(node, context, LeafKind::String, quoted.start, quoted.end);
            return;
        }
        let slot = self.paths.slot(node);
        if slot == NONE {
            return;
        }
        let start = self.scratch.kept.len();
        let text = self.scanner.bytes.get(quoted.start..quoted.end).unwrap_or_default();
        if unescape(text, &mut self.scratch.kept).is_none() {
            self.scratch.kept.truncate(start);
            return;
        }
        let leaf = Leaf::at(LeafKind::String, number(start), number(self.scratch.kept.len()), context);
        self.scratch.add_leaf(slot, Leaf { kept: true, ..leaf });
    }

    fn object(&mut self, node: u32, context: u32, is_last: bool) {
        self.scanner.at += 1;
        let paths = self.paths;
        let Some(here) = paths.node(node) else { return };
        let mut missing = here.children_count();
        if missing == 0 {
            self.scanner.skip_to_end_of_container();
            return;
        }
        loop {
            self.scanner.skip_space();
            if self.scanner.peek() != b'"' {
                // The end of the object; or no JSON, and then there is nothing to be had here.
                self.is_over |= self.scanner.peek() != b'}';
                self.scanner.at += 1;
                return;
            }
            let Some(key) = self.scanner.string() else {
                self.is_over = true;
                return;
            };
            self.scanner.skip_space();
            self.scanner.at += 1;
            self.scanner.skip_space();
            let child = self.child(here, node, key);
            if child == NONE {
                if self.scanner.string().is_none() {
                    self.scanner.skip_value();
                }
            } else {
                missing -= usize::from(self.keys_unique);
                self.value(child, context, is_last && missing == 0);
                if self.is_over {
                    return;
                }
                if missing == 0 {
                    if is_last {
                        self.is_over = true;
                    } else {
                        self.scanner.skip_to_end_of_container();
                    }
                    return;
                }
            }
            self.scanner.skip_space();
            if self.scanner.peek() == b',' {
                self.scanner.at += 1;
            }
        }
    }

    /// Where a key leads from the node `here`, whose number is `node`.
    #[inline]
    fn child(&mut self, here: &Node, node: u32, key: Quoted) -> u32 {
        if key.has_escapes {
            return self.escaped_child(node, key);
        }
        if self.keys_unique {
            here.child(self.scanner.bytes, key.start, key.end)
        } else {
            self.paths.follow(node, self.scanner.bytes, key.start, key.end)
        }
    }

    #[cold]
    fn escaped_child(&mut self, node: u32, key: Quoted) -> u32 {
        let start = self.scratch.kept.len();
        let text = self.scanner.bytes.get(key.start..key.end).unwrap_or_default();
        let known = unescape(text, &mut self.scratch.kept);
        let child =
            known.map_or(NONE, |()| self.paths.follow(node, &self.scratch.kept, start, self.scratch.kept.len()));
        self.scratch.kept.truncate(start);
        child
    }

    fn list(&mut self, node: u32, context: u32) {
        self.scanner.at += 1;
        let first = number(self.scratch.contexts.len());
        let list = number(self.scratch.lists.len());
        self.scratch.lists.push(List { first, last: first });
        loop {
            self.scanner.skip_space();
            match self.scanner.peek() {
                b']' => {
                    self.scanner.at += 1;
                    break;
                }
                b',' => {
                    self.scanner.at += 1;
                    continue;
                }
                b'{' if self.paths.children_count(node) == 0 => self.scanner.skip_value(),
                b'{' | b'[' => {
                    let element = number(self.scratch.contexts.len());
                    self.scratch.contexts.push(Context { parent: context, list });
                    self.value(node, element, false);
                }
                0 => {
                    self.is_over = true;
                    return;
                }
                _ => {
                    let before = self.scanner.at;
                    self.value(node, context, false);
                    // Text that is no JSON must not hold up the pass.
                    self.scanner.at += usize::from(self.scanner.at == before);
                }
            }
            if self.is_over {
                return;
            }
        }
        let last = number(self.scratch.contexts.len().saturating_sub(1));
        if let Some(list) = self.scratch.lists.get_mut(list as usize) {
            list.last = last;
        }
    }
}

/// Writes the text of a JSON string without its escapes; `None` where there is one that does not exist.
fn unescape(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        out.extend_from_slice(rest.get(..at)?);
        let escape = *rest.get(at + 1)?;
        rest = rest.get(at + 2..)?;
        let plain = match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = four_hex(rest)?;
                rest = rest.get(4..)?;
                if (0xd800..0xdc00).contains(&code) {
                    let low = four_hex(rest.strip_prefix(b"\\u")?).filter(|low| (0xdc00..0xe000).contains(low))?;
                    rest = rest.get(6..)?;
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                }
                out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
    Some(())
}

fn four_hex(text: &[u8]) -> Option<u32> {
    text.get(..4)?.iter().try_fold(0, |code, &byte| Some(code << 4 | char::from(byte).to_digit(16)?))
}

/// An integer as text, on the stack.
#[derive(Default)]
struct Digits {
    bytes: [u8; 24],
    length: usize,
}

impl Digits {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl std::fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
