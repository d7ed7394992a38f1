//! What was probably meant: the name in an event that is nearest to the one that is not there.

use crate::syntax::{Node, Value};

/// The paths of an event that are compared with the one that is missing. Explaining is for people; past this many
/// names the right one is as likely among those that were seen.
const PATHS_MAX: usize = 2_000;

/// Longer paths are not compared: nobody types them with one letter wrong.
const PATH_BYTES_MAX: usize = 128;

/// The first node at `path`, through lists.
pub(super) fn reach<'v, 'e>(node: &'v Node<'e>, path: &str) -> Option<&'v Node<'e>> {
    match &node.value {
        Value::Object(entries) => entries.iter().find_map(|entry| {
            let rest = path.strip_prefix(&*entry.key)?;
            if rest.is_empty() { Some(&entry.node) } else { reach(&entry.node, rest.strip_prefix('.')?) }
        }),
        Value::Array(items) => items.iter().find_map(|item| reach(item, path)),
        _ => None,
    }
}

/// The one of `known` that `wrong` was probably meant to be.
pub(super) fn nearest<'n>(wrong: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let scored = known.filter_map(|name| Some((distance(wrong, name)?, name)));
    scored.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The path in the event that is nearest to `missing`: with another case or a letter wrong, else one that ends
/// with the same key elsewhere.
pub(super) fn nearest_path(root: &Node<'_>, missing: &str) -> Option<String> {
    let mut paths = Vec::new();
    collect(root, &mut String::new(), &mut paths);
    // What both begin with says nothing: `data.id` is not nearly `data.big`.
    let scored = paths.iter().filter(|path| *path != missing).filter_map(|path| {
        let (wrong, name) = without_common_start(missing, path);
        Some((distance(wrong, name)?, path))
    });
    if let Some((_, near)) = scored.min_by_key(|(distance, _)| *distance) {
        return Some(near.clone());
    }
    let last = missing.rsplit('.').next()?;
    let shared = |path: &String| path.bytes().zip(missing.bytes()).take_while(|(a, b)| a == b).count();
    let same_key = paths.iter().rev().filter(|path| path.rsplit('.').next() == Some(last));
    same_key.max_by_key(|path| shared(path)).cloned()
}

/// Two paths without the steps at their start that they share.
fn without_common_start<'p>(mut a: &'p str, mut b: &'p str) -> (&'p str, &'p str) {
    while let (Some((first, rest)), Some((other, others))) = (a.split_once('.'), b.split_once('.')) {
        if first != other {
            break;
        }
        (a, b) = (rest, others);
    }
    (a, b)
}

/// The paths of everything in the event, in its order.
fn collect(node: &Node<'_>, path: &mut String, paths: &mut Vec<String>) {
    match &node.value {
        Value::Object(entries) => {
            for entry in entries {
                let length = path.len();
                if paths.len() >= PATHS_MAX || length + entry.key.len() >= PATH_BYTES_MAX {
                    continue;
                }
                if length > 0 {
                    path.push('.');
                }
                path.push_str(&entry.key);
                if !matches!(entry.node.value, Value::Object(_)) && paths.last() != Some(path) {
                    paths.push(path.clone());
                }
                collect(&entry.node, path, paths);
                path.truncate(length);
            }
        }
        // The elements of a list look alike: the first few show the names.
        Value::Array(items) => items.iter().take(3).for_each(|item| collect(item, path, paths)),
        _ => {}
    }
}

/// How far two names are apart; `None` where nobody would take one for the other.
fn distance(wrong: &str, name: &str) -> Option<usize> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    if wrong.len().abs_diff(name.len()) > 4 {
        return None;
    }
    if plain(wrong) == plain(name) {
        return Some(0);
    }
    let distance = strsim::damerau_levenshtein(wrong, name);
    // One letter in three would turn any short name into any other.
    (distance <= 2 && distance * 3 <= wrong.len().max(3)).then_some(distance)
}
