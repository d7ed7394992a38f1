//! The paths that rules ask for, as a tree of their steps.
//!
//! The pass over an event goes down this tree beside the event: a key that leads to no node is passed over with all
//! that is below it.

use std::collections::HashMap;

use super::hash::{Fast, first_bytes};

/// Stands for no slot and no node.
pub(super) const NONE: u32 = u32::MAX;

/// The node of the event itself.
pub(super) const ROOT: u32 = 0;

/// The paths of a compiled set. Each path has a slot: its number.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    nodes: Vec<Node>,
}

/// What a path leads to, and whether anything is asked for below.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The path that ends here, or [`NONE`].
    slot: u32,
    /// One bit for each length that a child's name has, the last one for all from 63 on: most keys of an event that
    /// nobody asks for are told by it.
    lengths: u64,
    children: Vec<Child>,
    /// By name, where there are more children than are compared one by one.
    by_name: HashMap<Box<[u8]>, u32, Fast>,
}

#[derive(Clone, Debug)]
struct Child {
    /// The first eight bytes of the name, which mostly are all of it.
    head: u64,
    name: Box<[u8]>,
    node: u32,
}

/// Up to this many children are compared one by one; the first eight bytes of each are one number.
const COMPARED_MAX: usize = 8;

#[inline]
fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

impl Default for Paths {
    fn default() -> Paths {
        Paths { nodes: vec![Node::new()] }
    }
}

impl Node {
    fn new() -> Node {
        Node { slot: NONE, lengths: 0, children: Vec::new(), by_name: HashMap::default() }
    }
}

impl Node {
    #[inline]
    pub(super) fn children_count(&self) -> usize {
        self.children.len()
    }

    /// The child by the name that stands in `bytes` from `start` to `end`; [`NONE`] where there is none.
    #[inline]
    pub(super) fn child(&self, bytes: &[u8], start: usize, end: usize) -> u32 {
        if self.lengths & length_bit(end.wrapping_sub(start)) == 0 { NONE } else { self.find(bytes, start, end) }
    }

    fn find(&self, bytes: &[u8], start: usize, end: usize) -> u32 {
        if self.children.len() > COMPARED_MAX {
            let name = bytes.get(start..end).unwrap_or_default();
            return self.by_name.get(name).copied().unwrap_or(NONE);
        }
        let head = first_bytes(bytes, start, end);
        for child in &self.children {
            if child.head == head
                && child.name.len() == end - start
                && (end - start <= 8 || bytes.get(start..end).is_some_and(|name| *name == *child.name))
            {
                return child.node;
            }
        }
        NONE
    }
}

impl Paths {
    /// Adds a path with its slot. The steps of a path are what its dots divide.
    pub(super) fn add(&mut self, path: &str, slot: u32) {
        let mut at = ROOT;
        for step in path.as_bytes().split(|&byte| byte == b'.') {
            at = match self.child(at, step, 0, step.len()) {
                NONE => self.add_child(at, step),
                child => child,
            };
        }
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.slot = slot;
        }
    }

    fn add_child(&mut self, parent: u32, name: &[u8]) -> u32 {
        let node = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.nodes.push(Node::new());
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.lengths |= length_bit(name.len());
            parent.children.push(Child { head: first_bytes(name, 0, name.len()), name: name.into(), node });
            if parent.children.len() > COMPARED_MAX {
                let missing = parent.children.get(parent.by_name.len()..).unwrap_or_default();
                let missing: Vec<(Box<[u8]>, u32)> =
                    missing.iter().map(|child| (child.name.clone(), child.node)).collect();
                parent.by_name.extend(missing);
            }
        }
        node
    }

    #[inline]
    pub(super) fn slot(&self, node: u32) -> u32 {
        self.nodes.get(node as usize).map_or(NONE, |node| node.slot)
    }

    #[inline]
    pub(super) fn children_count(&self, node: u32) -> usize {
        self.nodes.get(node as usize).map_or(0, |node| node.children.len())
    }

    #[inline]
    pub(super) fn node(&self, node: u32) -> Option<&Node> {
        self.nodes.get(node as usize)
    }

    /// The child of a node by the name that stands in `bytes` from `start` to `end`; [`NONE`] where there is none.
    #[inline]
    pub(super) fn child(&self, node: u32, bytes: &[u8], start: usize, end: usize) -> u32 {
        self.node(node).map_or(NONE, |node| node.child(bytes, start, end))
    }

    /// Where a key leads. A key with dots is as many steps: `{"a.b": 1}` and `{"a": {"b": 1}}` are one path.
    #[inline]
    pub(super) fn follow(&self, node: u32, bytes: &[u8], start: usize, end: usize) -> u32 {
        let child = self.child(node, bytes, start, end);
        if child != NONE {
            return child;
        }
        let key = bytes.get(start..end).unwrap_or_default();
        if !key.contains(&b'.') {
            return NONE;
        }
        let mut at = node;
        for step in key.split(|&byte| byte == b'.') {
            at = self.child(at, step, 0, step.len());
            if at == NONE {
                return NONE;
            }
        }
        at
    }
}
