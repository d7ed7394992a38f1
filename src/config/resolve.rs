//! What stands for a string: `{ env = "NAME" }` and `{ file = "path" }`.

use std::path::Path;

use eventyard_rules::reader::Reference;

use super::folder::read_named;
use super::project::Env;

/// The most bytes of a file that stands for a string. A key or a certificate has a few thousand.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Looks a reference up. One line end at the end of a file is no part of the string: editors add it.
///
/// # Errors
/// Why a file cannot be read, in words.
pub(super) fn resolve(folder: &Path, env: &Env, reference: Reference<'_>) -> Result<Option<String>, String> {
    match reference {
        Reference::Env(name) => Ok(env(name)),
        Reference::File(path) => {
            let text = read_named(folder, path, SECRET_BYTES_MAX)?;
            Ok(text.map(|text| {
                let line = text.strip_suffix('\n').unwrap_or(&text);
                line.strip_suffix('\r').unwrap_or(line).to_owned()
            }))
        }
    }
}
