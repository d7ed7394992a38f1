//! What every block takes.

use eventyard_event::Name;
use eventyard_rules::Place;
use eventyard_rules::reader::Table;

/// The keys of every block, whatever it is.
pub(super) struct Block {
    pub(super) enabled: bool,
    pub(super) description: String,
    pub(super) namespace: Name,
    pub(super) place: Place,
}

impl Block {
    pub(super) fn read(table: &Table<'_>) -> Block {
        Block {
            enabled: table.boolean("enabled").unwrap_or(true),
            description: table.string("description").unwrap_or_default(),
            namespace: table.name("namespace").unwrap_or_else(Name::default_namespace),
            place: table.place(),
        }
    }
}
