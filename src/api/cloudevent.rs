//! What a CloudEvent looks like as JSON, for the document that describes the API.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

/// An attribute: at least one character, and none that steers a terminal or is no character.
const TEXT: &str = r"^[^\u0000-\u001f\u007f-\u009f\ufdd0-\ufdef\ufffe\uffff]+$";

/// A media type with parameters; those in quotes, which are read too, are left out here.
const MEDIA_TYPE: &str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(; ?[!#$%&'*+.^_`|~0-9A-Za-z-]+=[!#$%&'*+.^_`|~0-9A-Za-z-]+)*$";

/// Stands for an event in descriptions; the event itself is never read into it, for its data is kept as it was written.
pub(super) struct CloudEvent;

impl JsonSchema for CloudEvent {
    fn schema_name() -> Cow<'static, str> {
        "CloudEvent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = json!({ "type": "string", "pattern": TEXT });
        let perhaps = json!({ "type": ["string", "null"], "pattern": TEXT });
        json_schema!({
            "type": "object",
            "description": "An event as CloudEvents 1.0 JSON. Members beside those of the specification are extensions.",
            "required": ["specversion", "id", "source", "type"],
            "properties": {
                "specversion": { "const": "1.0" },
                "id": text,
                "source": { "type": "string", "minLength": 1, "format": "uri-reference" },
                "type": text,
                "subject": perhaps,
                "time": { "type": ["string", "null"], "format": "date-time" },
                "datacontenttype": { "type": ["string", "null"], "pattern": MEDIA_TYPE, "examples": ["application/json"] },
                "dataschema": { "type": ["string", "null"], "format": "uri" },
                "data": { "description": "Anything." },
                "data_base64": { "type": ["string", "null"], "contentEncoding": "base64" },
            },
            // Extensions.
            "patternProperties": {
                "^(?!data$)[a-z0-9]+$": {
                    "type": ["string", "boolean", "integer", "null"],
                    "pattern": TEXT.replace('+', "*"), "minimum": i32::MIN, "maximum": i32::MAX,
                },
            },
            "additionalProperties": false,
            "not": { "required": ["data", "data_base64"] },
        })
    }
}
