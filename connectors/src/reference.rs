//! The reference pages, made from what the connectors declare. A test holds `docs/` against them; it writes them
//! when it runs with `EVENTYARD_BLESS=1`.

use std::fmt::Write as _;

use crate::spec::{ConnectorSpec, Field, FieldKind, Role, Variant, common_fields};

/// The name of a connector's page under `docs/`.
#[must_use]
pub fn page_name(spec: &ConnectorSpec) -> String {
    format!("{}s-{}.md", spec.role.as_str(), spec.kind)
}

/// A connector's page, in Markdown.
#[must_use]
pub fn page(spec: &ConnectorSpec) -> String {
    let role = spec.role.as_str();
    let mut text = format!("# The {role} `{}`\n\n", spec.kind);
    text.push_str("<!-- Made from connectors/src by `EVENTYARD_BLESS=1 cargo test -p eventyard-connectors`; edit it there. -->\n\n");
    paragraph(&mut text, spec.summary);
    paragraph(&mut text, &format!("```toml\n{}```", spec.example));
    paragraph(&mut text, "## Keys");
    table(&mut text, spec.fields);
    for field in spec.fields {
        match &field.kind {
            FieldKind::Variant(variants) => variants_of(&mut text, field, variants),
            FieldKind::Table(fields) => {
                paragraph(&mut text, &format!("### `{}`", field.name));
                table(&mut text, fields);
            }
            _ => {}
        }
    }
    let common: Vec<String> = common_fields(spec.role).iter().map(|field| format!("`{}`", field.name)).collect();
    paragraph(&mut text, &format!("Every {role} also takes {}.", common.join(", ")));
    text.push_str(spec.guide.trim_end());
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    text
}

/// The page of the keys that every block of a role takes, and of the kinds there are.
#[must_use]
pub fn index(role: Role, specs: &[ConnectorSpec], reserved: &[&str]) -> String {
    let word = role.as_str();
    let mut text =
        format!("# {}{}s\n\n", word.get(..1).unwrap_or_default().to_uppercase(), word.get(1..).unwrap_or_default());
    text.push_str("<!-- Made from connectors/src by `EVENTYARD_BLESS=1 cargo test -p eventyard-connectors`; edit it there. -->\n\n");
    for spec in specs {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "- [`{}`]({}): {}", spec.kind, page_name(spec), spec.summary);
    }
    let reserved: Vec<String> = reserved.iter().map(|kind| format!("`{kind}`")).collect();
    paragraph(&mut text, "");
    paragraph(&mut text, &format!("Not in this version: {}.", reserved.join(", ")));
    paragraph(&mut text, &format!("## What every {word} takes"));
    table(&mut text, common_fields(role));
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    text
}

fn paragraph(text: &mut String, paragraph: &str) {
    text.push_str(paragraph);
    text.push_str(if paragraph.is_empty() { "\n" } else { "\n\n" });
}

fn table(text: &mut String, fields: &[Field]) {
    if fields.is_empty() {
        paragraph(text, "None.");
        return;
    }
    text.push_str("| key | what stands there | without it | |\n|---|---|---|---|\n");
    for field in fields {
        let absent = match (field.required, field.default) {
            (true, _) => "an error".to_owned(),
            (false, Some("")) => "empty".to_owned(),
            (false, Some(default)) => format!("`{default}`"),
            (false, None) => "nothing".to_owned(),
        };
        let secret = if field.secret { " Never shown." } else { "" };
        let _ = writeln!(text, "| `{}` | {} | {absent} | {}{secret} |", field.name, kind(&field.kind), cell(field.doc));
    }
    text.push('\n');
}

fn variants_of(text: &mut String, field: &Field, variants: &[Variant]) {
    paragraph(text, &format!("### `{}`", field.name));
    for variant in variants {
        paragraph(text, &format!("`kind = \"{}\"`: {}", variant.kind, variant.doc));
        if !variant.fields.is_empty() {
            table(text, variant.fields);
        }
    }
}

fn kind(kind: &FieldKind) -> String {
    let words = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    match kind {
        FieldKind::String => "text".to_owned(),
        FieldKind::Path => "a path".to_owned(),
        FieldKind::Integer { min, max } => format!("a whole number from {min} to {max}"),
        FieldKind::Boolean => "`true` or `false`".to_owned(),
        FieldKind::Duration => "a duration".to_owned(),
        FieldKind::DurationOr(others) => format!("a duration, or {}", words(others)),
        FieldKind::Size => "a size".to_owned(),
        FieldKind::StringOrList => "text, or a list".to_owned(),
        FieldKind::StringList => "a list of texts".to_owned(),
        FieldKind::OneOf(choices) => words(choices),
        FieldKind::Table(_) => "a table, below".to_owned(),
        FieldKind::Variant(variants) => {
            let kinds: Vec<&str> = variants.iter().map(|variant| variant.kind).collect();
            format!("a table whose `kind` is {}", words(&kinds))
        }
        FieldKind::Map => "a table of texts".to_owned(),
        FieldKind::Any => "anything".to_owned(),
    }
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
