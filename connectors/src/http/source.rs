//! A path of the broker's server that takes requests and makes events of them.

use std::time::Duration;

use bytes::Bytes;
use eventyard_event::decode::{self, Format, csv_rows};
use eventyard_event::http::read_request;
use eventyard_event::{
    Data, Event, ExtensionValue, Extensions, Limits, Name, Text, Timestamp, fits_attribute, format_text, hops, json,
    media_type,
};
use http::{HeaderMap, Method};
use serde_json::Value;

use super::config::SourceConfig;
use super::field::{text_at, text_of};
use super::path::{PATH_BYTES_MAX, PathTemplate};
use super::preset::{Preset, Reading, Unreadable};
use super::verify::{Disbelief, Verifier, header_name};
use crate::codec::{Codec, DecodeError, type_of};
use crate::source::Incoming;
use crate::spec::{ConfigError, check_type, parse_duration, read_checked};

/// The longest query that is taken, in bytes: it becomes an attribute of the event.
const QUERY_BYTES_MAX: usize = 4096;

/// How long a sender waits for an answer where the project does not say.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest that a sender may be made to wait. Each that waits keeps a connection, and hardly anything between
/// two machines keeps one open for longer without a byte passing.
const REPLY_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// `[source.NAME] kind = "http"`, ready to be asked about requests. Shared by all of them; holds no state.
#[derive(Debug)]
pub struct HttpSource {
    name: Name,
    path: PathTemplate,
    methods: Vec<Method>,
    preset: Option<&'static Preset>,
    verifier: Verifier,
    proof_stated: bool,
    id_from: Option<IdFrom>,
    dedupe: Option<Duration>,
    reply_timeout: Option<Duration>,
    ty: Option<String>,
    body: BodyKind,
}

/// What bodies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyKind {
    /// What the content type says, where they are so.
    Auto,
    /// This, whatever the content type says.
    Told(Codec),
    /// Tables, each row of which is an event.
    Rows,
}

/// Where the sender's id stands.
#[derive(Debug)]
enum IdFrom {
    Header(http::HeaderName),
    /// Keys from the body's top.
    Data(Vec<String>),
}

/// A request before its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as it came, percent-encoding and all.
    pub path: &'a str,
    /// What stands after the `?`, where there is one.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// What a request was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// These happened.
    Events(Vec<Incoming>),
    /// Nothing happened: the sender asks whether somebody is here, and is answered at once.
    Greeting(Greeting),
}

/// What a sender that asks whether somebody is here is answered, with 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: Bytes,
}

/// Why a request makes no event. What the sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// A stable word.
    pub code: &'static str,
    /// What was wrong.
    pub message: String,
    /// What to do.
    pub fix: String,
    /// A header that belongs to the answer (`allow`, `www-authenticate`).
    pub header: Option<(&'static str, String)>,
}

impl HttpSource {
    /// Makes the source `name` from its table (held against [`SOURCE_SPEC`](super::SOURCE_SPEC)); with warnings.
    ///
    /// # Errors
    /// Everything that will not do, each with the key it stands at.
    pub fn build(name: &Name, table: &Value) -> Result<(HttpSource, Vec<ConfigError>), Vec<ConfigError>> {
        let config: SourceConfig = read_checked(table)?;
        let mut errors = Vec::new();
        let mut keep = |result: Result<(), Vec<ConfigError>>| {
            if let Err(found) = result {
                errors.extend(found);
            }
        };
        let path = PathTemplate::parse(&config.path);
        keep(path.as_ref().map(|_| ()).map_err(|problem| vec![ConfigError::at("path", "bad_path", problem.clone())]));
        let methods = methods(&config.methods);
        keep(methods.as_ref().map(|_| ()).map_err(Clone::clone));
        let reply_timeout = reply_timeout(&config);
        keep(reply_timeout.as_ref().map(|_| ()).map_err(Clone::clone));
        let id_from = config.id_from.as_deref().map(id_from).transpose();
        keep(id_from.as_ref().map(|_| ()).map_err(Clone::clone));
        let dedupe = dedupe(&config.dedupe);
        keep(dedupe.as_ref().map(|_| ()).map_err(Clone::clone));
        keep(check_type(config.ty.as_deref()));
        let body = body_kind(&config);
        keep(body.as_ref().map(|_| ()).map_err(Clone::clone));
        let ty = config.ty.clone();
        let proof_stated = config.preset.is_some() || config.verify.is_some();
        let proof = proof(config);
        keep(proof.as_ref().map(|_| ()).map_err(Clone::clone));
        match (path, methods, id_from, dedupe, reply_timeout, body, proof) {
            (Ok(path), Ok(methods), Ok(id_from), Ok(dedupe), Ok(reply_timeout), Ok(body), Ok((preset, verifier)))
                if errors.is_empty() =>
            {
                let source = HttpSource {
                    name: name.clone(),
                    path,
                    methods,
                    preset,
                    verifier,
                    proof_stated,
                    id_from,
                    dedupe,
                    reply_timeout,
                    ty,
                    body,
                };
                Ok((source, Vec::new()))
            }
            _ => Err(errors),
        }
    }

    /// The source's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Where it is mounted. Two sources whose paths overlap for a method cannot both be served.
    #[must_use]
    pub fn path(&self) -> &PathTemplate {
        &self.path
    }

    /// The methods it answers.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Whether the project says how requests prove where they come from (`verify = { kind = "none" }` says it too).
    /// Off loopback, one that does not may not be served.
    #[must_use]
    pub fn states_proof(&self) -> bool {
        self.proof_stated
    }

    /// How long a sender is let wait for a target's answer (`reply = "sync"`); `None` where it is told 202 at once.
    #[must_use]
    pub fn reply_timeout(&self) -> Option<Duration> {
        self.reply_timeout
    }

    /// Whether requests must prove where they come from.
    #[must_use]
    pub fn demands_proof(&self) -> bool {
        !matches!(self.verifier, Verifier::None)
    }

    /// Makes the events of one request: one, or those of a CloudEvents batch; or the greeting that a known sender
    /// asks of a new address. `body` is what came, unchanged and
    /// within the server's limit; `now` is the wall clock.
    ///
    /// # Errors
    /// [`Refusal`]: 404 where the path is another's, 405, 414, 401 (`unauthorized`, `stale`), and 400 or 413 for
    /// what says that it is a CloudEvent and is none. A body that says it is JSON and is none makes an event all
    /// the same, its data kept as bytes: most senders of webhooks never send again.
    pub fn accept(
        &self,
        head: RequestHead<'_>,
        body: Bytes,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<Taken, Refusal> {
        let Some(parameters) = self.path.parameters(head.path) else {
            return Err(refusal(
                404,
                "not_found",
                "no source is here",
                "check the path against `eventyard sources list`",
            ));
        };
        if !self.methods.contains(head.method) {
            let allowed = self.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            let message = format!("the source `{}` does not answer {}", self.name, head.method);
            let refusal = refusal(405, "method_not_allowed", &message, &format!("use one of: {allowed}"));
            return Err(Refusal { header: Some(("allow", allowed)), ..refusal });
        }
        if head.path.len() > PATH_BYTES_MAX || head.query.is_some_and(|query| query.len() > QUERY_BYTES_MAX) {
            let message = format!("the path has over {PATH_BYTES_MAX} bytes, or the query over {QUERY_BYTES_MAX}");
            return Err(refusal(414, "uri_too_long", &message, "send what is long in the body"));
        }
        self.verifier.verify(head.headers, &body, now).map_err(|disbelief| self.disbelieved(disbelief))?;
        if self.preset.is_none() && self.body == BodyKind::Auto && says_cloudevent(head.headers) {
            return self.take_whole(head.headers, body, limits).map(Taken::Events);
        }
        self.wrap(head, parameters, body, limits)
    }

    fn disbelieved(&self, disbelief: Disbelief) -> Refusal {
        match disbelief {
            Disbelief::Unproved => {
                let header = matches!(self.verifier, Verifier::Basic { .. })
                    .then(|| ("www-authenticate", "Basic realm=\"eventyard\"".to_owned()));
                let fix = "check that both sides hold the same secret and that the body reaches us unchanged";
                let refusal = refusal(401, "unauthorized", "the request does not prove where it comes from", fix);
                Refusal { header, ..refusal }
            }
            Disbelief::Stale => refusal(
                401,
                "stale",
                "the signature is right and its time is too far from ours",
                "check both clocks; sign a new request rather than sending an old one again",
            ),
        }
    }

    fn take_whole(&self, headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<Vec<Incoming>, Refusal> {
        let events = read_request(headers, body, limits).map_err(|error| {
            let code = error.code();
            let status = if code == "body_too_large" { 413 } else { 400 };
            refusal(
                status,
                code,
                &error.to_string(),
                "send a CloudEvent of version 1.0, or a body that does not say it is one",
            )
        })?;
        Ok(events
            .into_iter()
            .map(|(event, shape)| Incoming { event, keys_unique: shape.keys_unique, dedupe: self.dedupe })
            .collect())
    }

    fn wrap(
        &self,
        head: RequestHead<'_>,
        parameters: Vec<(&str, String)>,
        body: Bytes,
        limits: &Limits,
    ) -> Result<Taken, Refusal> {
        // What no attribute may hold is left out rather than losing the event, which intake would refuse for it.
        let content_type = text_of(head.headers, "content-type")
            .filter(|text| media_type::is_well_formed(text) && fits_attribute(text, limits));
        let (data, keys_unique, content_type) = match self.body {
            BodyKind::Auto => {
                let (data, keys_unique) = data(content_type, body, limits);
                (data, keys_unique, content_type.map(Text::from))
            }
            BodyKind::Told(codec) => {
                codec.data(content_type, body, limits.json_depth_max).map_err(|why| undecoded(&why))?
            }
            // Read when its rows are made.
            BodyKind::Rows => (Data::Bytes(body), true, Some(type_of(Format::Csv, content_type.map(Text::from)))),
        };
        let extension = |name: &str, value: &str| (Text::from(name), ExtensionValue::String(value.into()));
        let of_preset = self.preset.map_or(0, |preset| preset.extensions.len());
        let mut extensions = Extensions::with_capacity(2 + parameters.len() + of_preset);
        extensions.extend([extension("httpmethod", head.method.as_str())]);
        let query = head.query.filter(|query| fits_attribute(query, limits));
        extensions.extend(query.map(|query| extension("httpquery", query)));
        let fitting = parameters.iter().filter(|(_, value)| fits_attribute(value, limits));
        extensions.extend(fitting.map(|(name, value)| extension(&format_text!("param{name}"), value)));
        let mut ty = Text::const_new("http.received");
        let mut id = self.id(head.headers, &data);
        if let Some(preset) = self.preset {
            match preset.read(head.headers, &data).map_err(|why| unreadable(&why))? {
                Reading::Challenge(body) => return Ok(Taken::Greeting(Greeting { content_type: "text/plain", body })),
                Reading::Event { word, id: given } => {
                    ty = format_text!("{}.{word}", preset.name);
                    id = id.or(given.map(Text::from));
                }
            }
            for (header, name) in preset.extensions {
                let value = text_of(head.headers, header).filter(|value| fits_attribute(value, limits));
                extensions.extend(value.map(|value| extension(name, value)));
            }
        }
        let id = id.filter(|id| fits_attribute(id, limits));
        let dedupe = self.dedupe.filter(|_| id.is_some());
        let mut event = Event {
            id: id.unwrap_or_default(),
            source: format_text!("/sources/{}", self.name),
            ty: self.ty.as_deref().map_or(ty, Text::from),
            subject: Some(head.path).filter(|path| fits_attribute(path, limits)).map(Text::from),
            time: None,
            datacontenttype: content_type,
            dataschema: None,
            extensions,
            data,
        };
        hops::note(&mut event, text_of(head.headers, hops::HEADER));
        let whole = Incoming { event, keys_unique, dedupe };
        match self.body {
            BodyKind::Rows => rows(&whole, limits).map(Taken::Events),
            BodyKind::Auto | BodyKind::Told(_) => Ok(Taken::Events(vec![whole])),
        }
    }

    /// The sender's id, where the request has one. A preset's is asked for besides.
    fn id(&self, headers: &HeaderMap, data: &Data) -> Option<Text> {
        match (&self.id_from, &self.verifier) {
            (Some(IdFrom::Header(name)), _) => text_of(headers, name.as_str()).map(Text::from),
            (Some(IdFrom::Data(keys)), _) => text_at(data, keys).map(Text::from),
            (None, Verifier::StandardWebhooks { .. }) => text_of(headers, "webhook-id").map(Text::from),
            (None, _) => None,
        }
    }
}

fn refusal(status: u16, code: &'static str, message: &str, fix: &str) -> Refusal {
    Refusal { status, code, message: message.to_owned(), fix: fix.to_owned(), header: None }
}

/// Whether a request says that it carries CloudEvents: by its content type, or by a `ce-specversion`.
fn says_cloudevent(headers: &HeaderMap) -> bool {
    let essence = media_type::essence(text_of(headers, "content-type").unwrap_or_default());
    essence.get(..23).is_some_and(|start| start.eq_ignore_ascii_case("application/cloudevents"))
        || headers.contains_key("ce-specversion")
}

/// The data as patterns will see it: JSON where it says so (or says nothing) and is so, otherwise bytes.
fn data(content_type: Option<&str>, body: Bytes, limits: &Limits) -> (Data, bool) {
    if body.is_empty() {
        return (Data::None, true);
    }
    if content_type.is_none_or(media_type::is_json)
        && let Ok(shape) = json::validate(&body, limits.json_depth_max)
    {
        return (Data::Json(body), shape.keys_unique);
    }
    (Data::Bytes(body), true)
}

/// An event for each row of a table. Their ids are the table's with the row's number, so that a table that comes again is
/// known again row by row.
fn rows(table: &Incoming, limits: &Limits) -> Result<Vec<Incoming>, Refusal> {
    let Incoming { event, keys_unique: _, dedupe } = table;
    let content_type = event.datacontenttype.as_deref().unwrap_or_default();
    let rows = csv_rows(event.data.bytes(), content_type, limits.batch_events_max).map_err(|error| match error {
        decode::DecodeError::Limit { limit: "batch", .. } => {
            refusal(413, "batch_too_large", &error.to_string(), "send the table in parts, or raise `[limits] batch`")
        }
        _ => undecoded(&DecodeError::new("decode", format!("the message is no text/csv: {error}"))),
    })?;
    let count = rows.len();
    // An id that leaves no room for a number is none, as one that is too long by itself.
    let id = Some(&event.id).filter(|id| !id.is_empty() && fits_attribute(&format_text!("{id}#{count}"), limits));
    let number = |number: usize| ExtensionValue::Integer(i32::try_from(number).unwrap_or(i32::MAX));
    let made = rows.into_iter().enumerate().map(|(index, row)| {
        // Two columns never have one name, but one may have a dot in it.
        let keys_unique = json::validate(row.as_bytes(), limits.json_depth_max).is_ok_and(|shape| shape.keys_unique);
        let mut event = Event { data: Data::Json(row.into()), ..event.clone() };
        event.id = id.map(|id| format_text!("{id}#{}", index + 1)).unwrap_or_default();
        event.datacontenttype = Some("application/json".into());
        event.extensions.reserve(2);
        event.extensions.insert("row".into(), number(index + 1));
        event.extensions.insert("rows".into(), number(count));
        Incoming { event, keys_unique, dedupe: dedupe.filter(|_| id.is_some()) }
    });
    Ok(made.collect())
}

/// A body that is not what the source says.
fn undecoded(why: &DecodeError) -> Refusal {
    refusal(400, why.code, &why.message, "send what the source's `codec` says, or set it to what is sent")
}

/// Why what a known sender proved to be its own is not taken.
fn unreadable(why: &Unreadable) -> Refusal {
    let fix = "send what the preset's sender sends, or leave `preset` out";
    match why {
        Unreadable::Header(name) => {
            refusal(400, "preset_header", &format!("the header {name} is missing or holds no word"), fix)
        }
        Unreadable::Body(name) => {
            refusal(400, "preset_body", &format!("the body is no JSON whose `{name}` holds a word"), fix)
        }
    }
}

fn methods(words: &[String]) -> Result<Vec<Method>, Vec<ConfigError>> {
    const KNOWN: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    if words.is_empty() {
        return Err(vec![ConfigError::at("methods", "bad_value", "without a method nothing is ever taken")]);
    }
    let mut methods = Vec::new();
    for word in words {
        match Method::from_bytes(word.as_bytes()) {
            Ok(method) if KNOWN.contains(&word.as_str()) => methods.push(method),
            _ => {
                let message = format!("`{}` is not one of {}", word.escape_default(), KNOWN.join(", "));
                return Err(vec![ConfigError::at("methods", "bad_value", message)]);
            }
        }
    }
    Ok(methods)
}

fn body_kind(config: &SourceConfig) -> Result<BodyKind, Vec<ConfigError>> {
    let kind = match config.codec.as_deref() {
        None | Some("auto") => return Ok(BodyKind::Auto),
        Some("json") => BodyKind::Told(Codec::Json),
        Some("xml") => BodyKind::Told(Codec::Xml),
        Some("csv") => BodyKind::Told(Codec::Csv),
        Some("form") => BodyKind::Told(Codec::Form),
        Some("text") => BodyKind::Told(Codec::Text),
        Some("csv-rows") => BodyKind::Rows,
        Some(_) => BodyKind::Told(Codec::Bytes),
    };
    if config.preset.is_some() {
        let found = ConfigError::at("codec", "conflict", "the preset says what the body is");
        return Err(vec![found.help("remove one of the two")]);
    }
    if kind == BodyKind::Rows && config.reply == "sync" {
        let found =
            ConfigError::at("codec", "conflict", "a sender that waits is given one answer, and each row is an event");
        return Err(vec![found.help("set codec = \"csv\", or remove reply = \"sync\"")]);
    }
    Ok(kind)
}

/// How long a sender waits for an answer; `None` for one that does not.
fn reply_timeout(config: &SourceConfig) -> Result<Option<Duration>, Vec<ConfigError>> {
    let said = config.reply_timeout_ms.map(Duration::from_millis);
    match (config.reply.as_str(), said) {
        ("sync", Some(wait)) if wait.is_zero() || wait > REPLY_TIMEOUT_MAX => {
            let message = "a sender waits for more than no time and at most an hour";
            Err(vec![ConfigError::at("reply_timeout", "out_of_range", message)])
        }
        ("sync", said) => Ok(Some(said.unwrap_or(REPLY_TIMEOUT))),
        (_, Some(_)) => Err(vec![
            ConfigError::at("reply_timeout", "conflict", "nobody waits for an answer here, so there is no time-out")
                .help("set reply = \"sync\", or remove it"),
        ]),
        (_, None) => Ok(None),
    }
}

fn id_from(text: &str) -> Result<IdFrom, Vec<ConfigError>> {
    if let Some(header) = text.strip_prefix("header:") {
        return header_name(header.trim(), "id_from").map(IdFrom::Header);
    }
    let path = text.strip_prefix("$.").unwrap_or(text);
    if let Some(keys) = path.strip_prefix("data.")
        && keys.split('.').all(|key| !key.is_empty())
    {
        return Ok(IdFrom::Data(keys.split('.').map(str::to_owned).collect()));
    }
    let message = format!("`{}` says neither a header nor a place in the body", text.escape_default());
    Err(vec![ConfigError::at("id_from", "bad_value", message).help("write header:X-Request-Id, or data.id")])
}

fn dedupe(value: &Value) -> Result<Option<Duration>, Vec<ConfigError>> {
    match (value.as_u64(), value.as_str()) {
        (Some(0), _) => Err(vec![
            ConfigError::at("dedupe", "bad_value", "a window of no time recognises nothing")
                .help("write \"off\" if that is meant"),
        ]),
        (Some(millis), _) => Ok(Some(Duration::from_millis(millis))),
        (None, Some("off")) => Ok(None),
        (None, Some(text)) => {
            parse_duration(text).map(Some).map_err(|problem| vec![ConfigError::at("dedupe", "bad_value", problem)])
        }
        (None, None) => Err(vec![ConfigError::at("dedupe", "bad_value", "a duration or \"off\" belongs here")]),
    }
}

/// How requests prove where they come from: by the preset, by `verify`, or not at all.
fn proof(config: SourceConfig) -> Result<(Option<&'static Preset>, Verifier), Vec<ConfigError>> {
    match (config.preset, config.secret, config.verify) {
        (Some(_), _, Some(_)) => Err(vec![
            ConfigError::at("verify", "conflict", "`preset` says already how requests are verified")
                .help("leave out one of the two"),
        ]),
        (Some(name), secret, None) => {
            let Some(preset) = Preset::find(&name) else {
                return Err(vec![ConfigError::at("preset", "bad_value", format!("there is no preset `{name}`"))]);
            };
            let Some(secret) = secret else {
                return Err(vec![ConfigError {
                    path: Vec::new(),
                    code: "missing_key",
                    message: format!("the preset `{name}` needs `secret`"),
                    help: Some(format!("write secret = {{ env = \"{}_SECRET\" }}", name.to_uppercase())),
                }]);
            };
            Ok((Some(preset), preset.verifier(&secret)?))
        }
        (None, Some(_), _) => Err(vec![
            ConfigError::at("secret", "conflict", "`secret` belongs to a preset, and there is none")
                .help("put the secret into `verify`, or name a preset"),
        ]),
        (None, None, Some(verify)) => {
            let verifier = Verifier::build(verify)
                .map_err(|errors| errors.into_iter().map(|error| error.within("verify")).collect::<Vec<_>>())?;
            Ok((None, verifier))
        }
        (None, None, None) => Ok((None, Verifier::None)),
    }
}
