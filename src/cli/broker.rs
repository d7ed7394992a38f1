//! The running broker, as its clients reach it: where it is, the token, calls, and errors put into words.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::exit::{Failure, Outcome, Refused};
use super::sample::Addressed;
use super::screen::{complain, shown, shown_lines};

/// Where a project listens that does not say.
const LISTEN_DEFAULT: &str = "127.0.0.1:8484";

/// How long an answer may take. The slowest calls (a replay of very many dead letters) answer in seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long connecting may take: on the way to a broker that is there, far less is needed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a stream may last: as good as for ever.
const STREAM_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long a stream may say nothing. The broker says that it is still there every 15 seconds.
const STREAM_QUIET_MAX: Duration = Duration::from_secs(60);

/// The largest answer that is read. A page of 1,000 of the largest events would be beyond it and is refused
/// with the advice to ask for fewer.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The longest piece of an answer that is no problem+json, shown with the error, in characters.
const STRANGE_ANSWER_CHARS_MAX: usize = 300;

/// Which broker to talk to.
#[derive(clap::Args, Debug)]
pub(crate) struct BrokerArgs {
    /// Where the broker is, such as http://127.0.0.1:8484; else the project's `[server] listen` says it
    #[arg(long, env = "EVENTYARD_URL", value_name = "URL", help_heading = "Broker")]
    url: Option<String>,
    /// A file that holds the token; else the variable EVENTYARD_TOKEN, else the project's `[server] token`
    #[arg(long, value_name = "FILE", help_heading = "Broker")]
    token_file: Option<PathBuf>,
    /// The project's folder, for where the broker listens and its token
    #[arg(long, value_name = "DIR", default_value = ".", help_heading = "Broker")]
    project: PathBuf,
}

/// A broker that can be called.
#[derive(Debug)]
pub(crate) struct BrokerClient {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
}

impl BrokerArgs {
    /// The project's folder, for commands that can do without the broker.
    pub(crate) fn project(&self) -> &Path {
        &self.project
    }

    /// Finds out where the broker is. Connects to nothing yet.
    pub(crate) fn client(&self) -> Outcome<BrokerClient> {
        let project = if self.url.is_none() { Some(read_project(&self.project)?) } else { None };
        let url = match (&self.url, &project) {
            (Some(url), _) => url.clone(),
            (None, Some(project)) => project.url.clone(),
            (None, None) => format!("http://{LISTEN_DEFAULT}"),
        };
        let base = read_url(&url)?;
        // The project's token is for the project's address: a URL given by hand never gets it.
        let token = match &self.token_file {
            Some(file) => Some(read_token_file(file)?),
            None => match std::env::var("EVENTYARD_TOKEN") {
                Ok(token) if !token.is_empty() => Some(token),
                _ => project.and_then(|project| project.token),
            },
        };
        let loopback = is_loopback(&base);
        if token.is_some() && base.scheme() == "http" && !loopback {
            complain(format!("warning: the token goes to {base} without TLS; anybody on the way can read it"));
        }
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("eventyard/", env!("CARGO_PKG_VERSION")));
        if loopback {
            http = http.no_proxy();
        }
        let http = http.build().context("the HTTP client could not be set up")?;
        Ok(BrokerClient { http, base, token })
    }
}

impl BrokerClient {
    /// Asks for something.
    pub(crate) async fn get(&self, segments: &[&str], query: &[(&str, String)]) -> Outcome<Value> {
        let request = self.http.get(address(&self.base, segments, query));
        self.call(request).await
    }

    /// Opens a stream that goes on until either side ends it.
    pub(crate) async fn stream(&self, segments: &[&str], query: &[(&str, String)]) -> Outcome<Stream<'_>> {
        let mut request = self.http.get(address(&self.base, segments, query)).timeout(STREAM_TIMEOUT);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Stream { answer, client: self });
        }
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        Err(self.problem(status, &body))
    }

    /// Sends a JSON body.
    pub(crate) async fn send(&self, method: Method, segments: &[&str], body: &Value) -> Outcome<Value> {
        let request = self.http.request(method, address(&self.base, segments, &[])).json(body);
        self.call(request).await
    }

    /// Sends bytes of a media type.
    pub(crate) async fn post_bytes(&self, segments: &[&str], media_type: &str, body: Vec<u8>) -> Outcome<Value> {
        let request = self
            .http
            .post(address(&self.base, segments, &[]))
            .header(reqwest::header::CONTENT_TYPE, media_type)
            .body(body);
        self.call(request).await
    }

    /// Sends what a sender of webhooks would, who has no token: the answer's status and body.
    pub(crate) async fn knock(&self, addressed: &Addressed) -> Outcome<(StatusCode, Vec<u8>)> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path().trim_end_matches('/'), addressed.path));
        let method = Method::from_bytes(addressed.method.as_bytes()).context("a method").map_err(Failure::Failed)?;
        let mut request = self.http.request(method, url).body(addressed.request.body.clone());
        for (name, value) in &addressed.request.headers {
            request = request.header(*name, value);
        }
        let (status, body) = self.exchange(request).await?;
        if status.is_success() { Ok((status, body)) } else { Err(self.problem(status, &body)) }
    }

    async fn call(&self, mut request: reqwest::RequestBuilder) -> Outcome<Value> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let (status, body) = self.exchange(request).await?;
        if !status.is_success() {
            return Err(self.problem(status, &body));
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body)
            .with_context(|| format!("{} answered something that is no JSON; is it an eventyard broker?", self.base))
            .map_err(Failure::Failed)
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Outcome<(StatusCode, Vec<u8>)> {
        let mut answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Failure::failed(format!(
                    "the answer is larger than {} MiB; ask for fewer with --limit",
                    ANSWER_BYTES_MAX / 1024 / 1024
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((answer.status(), body))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let base = self.base.as_str().trim_end_matches('/');
        let cause = innermost(error);
        let (what, help) = if error.is_timeout() {
            (format!("the broker at {base} did not answer in time"), "look at its log, or ask `eventyard status`")
        } else if error.is_connect() {
            (
                format!("no broker answers at {base} ({cause})"),
                "start one with `eventyard run DIR`, or say where it is with --url or EVENTYARD_URL",
            )
        } else {
            (format!("talking to the broker at {base} failed ({cause})"), "look at its log, or ask `eventyard status`")
        };
        Failure::Failed(anyhow!("{what}\n  help: {help}"))
    }

    /// A refusal in words: what was wrong, the code, what to do, and where to read more.
    fn problem(&self, status: StatusCode, body: &[u8]) -> Failure {
        let problem: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let Some(code) = problem.get("code").and_then(Value::as_str) else {
            let text: String = String::from_utf8_lossy(body).chars().take(STRANGE_ANSWER_CHARS_MAX).collect();
            return Failure::Failed(anyhow!(
                "{} answered {status}, and not as an eventyard broker does: {}",
                self.base,
                shown(text.trim())
            ));
        };
        Failure::Failed(Refused { code: code.to_owned(), text: problem_text(&problem, code) }.into())
    }
}

/// An answer that goes on.
pub(crate) struct Stream<'c> {
    answer: reqwest::Response,
    client: &'c BrokerClient,
}

impl Stream<'_> {
    /// The next piece; `None` where the broker has ended it.
    pub(crate) async fn next(&mut self) -> Outcome<Option<Vec<u8>>> {
        match tokio::time::timeout(STREAM_QUIET_MAX, self.answer.chunk()).await {
            Ok(chunk) => Ok(chunk.map_err(|error| self.client.unreachable(&error))?.map(|chunk| chunk.to_vec())),
            Err(_) => Err(Failure::failed(format!(
                "the broker has said nothing for {} s\n  help: `eventyard status` says whether it still runs",
                STREAM_QUIET_MAX.as_secs()
            ))),
        }
    }
}

/// The address of a call. Segments are percent-encoded one by one, so that no name can leave its place.
fn address(base: &Url, segments: &[&str], query: &[(&str, String)]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// A problem+json answer as text.
pub(crate) fn problem_text(problem: &Value, code: &str) -> String {
    let field = |key: &str| problem.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let what = field("detail").or_else(|| field("title")).unwrap_or("the broker refused");
    let mut text = format!("{} [{}]", shown(what), shown(code));
    if let Some(place) = field("where") {
        text.push_str(&format!("\n  where: {}", shown(place)));
    }
    if let Some(report) = field("diagnostics") {
        text.push_str(&format!("\n\n{}\n", shown_lines(report.trim_end())));
    }
    if let Some(fix) = field("fix") {
        text.push_str(&format!("\n  fix: {}", shown(fix)));
    }
    // Only words that can be a code are put into a command line that people copy.
    if code.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        text.push_str(&format!("\n  more: eventyard errors {code}"));
    }
    text
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn read_url(text: &str) -> Outcome<Url> {
    let wrong = |why: &str| Failure::usage(format!("`{text}` is no address of a broker: {why}"));
    let url = Url::parse(text).map_err(|error| wrong(&format!("{error}; write http://HOST:PORT")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("a token goes into EVENTYARD_TOKEN or --token-file, never into the address"));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn read_token_file(file: &Path) -> Outcome<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the token file {} cannot be read", file.display()))
        .map_err(Failure::Usage)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::usage(format!("the token file {} is empty", file.display())));
    }
    Ok(token.to_owned())
}

/// What a project's file says about where its broker is.
#[derive(Debug)]
struct ProjectAddress {
    url: String,
    token: Option<String>,
}

/// Reads `[server]` and nothing else: a mistake in another block must not keep anybody from asking the broker
/// about it. A folder without a project gives the default address.
fn read_project(folder: &Path) -> Outcome<ProjectAddress> {
    let file = folder.join("eventyard.toml");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(ProjectAddress { url: format!("http://{LISTEN_DEFAULT}"), token: None });
        }
        Err(error) => {
            return Err(Failure::Usage(anyhow!(error).context(format!("{} cannot be read", file.display()))));
        }
    };
    project_address(&text, folder, &|name| std::env::var(name).ok()).map_err(|why| {
        Failure::usage(format!(
            "{} does not say where the broker is: {why}\n  help: `eventyard check` shows every mistake; --url goes \
             without the file",
            file.display()
        ))
    })
}

fn project_address(text: &str, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<ProjectAddress, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let server = table.get("server").and_then(toml::Value::as_table);
    let listen = match server.and_then(|server| server.get("listen")) {
        None => LISTEN_DEFAULT.to_owned(),
        Some(value) => string_value(value, folder, env).map_err(|why| format!("`[server] listen` {why}"))?,
    };
    // A table of certificate and key means that the broker itself speaks TLS; "proxy" that it does not.
    let tls = server.and_then(|server| server.get("tls")).is_some_and(toml::Value::is_table);
    let scheme = if tls { "https" } else { "http" };
    let token = match server.and_then(|server| server.get("token")) {
        None => None,
        Some(value) => Some(string_value(value, folder, env).map_err(|why| format!("`[server] token` {why}"))?),
    };
    Ok(ProjectAddress { url: format!("{scheme}://{}", reachable(&listen)), token })
}

/// Who listens everywhere is reached on loopback.
fn reachable(listen: &str) -> String {
    match listen.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => listen.to_owned(),
    }
}

/// A string, or what may stand for one. The value itself never gets into the error.
fn string_value(value: &toml::Value, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    let part = |key: &str| value.get(key).and_then(toml::Value::as_str);
    if let Some(name) = part("env") {
        return env(name)
            .or_else(|| part("default").map(str::to_owned))
            .ok_or_else(|| format!("stands in the variable {name}, which is not set"));
    }
    if let Some(path) = part("file") {
        let path = folder.join(path);
        return std::fs::read_to_string(&path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| format!("stands in {}, which cannot be read: {error}", path.display()));
    }
    Err("is neither a string nor { env = \"…\" } nor { file = \"…\" }".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str) -> Result<ProjectAddress, String> {
        project_address(text, Path::new("."), &|name| (name == "SET").then(|| "s3cret".to_owned()))
    }

    #[test]
    fn the_project_says_where_its_broker_is() {
        assert_eq!(project("").unwrap().url, "http://127.0.0.1:8484");
        assert_eq!(project("server.listen = '0.0.0.0:9'").unwrap().url, "http://127.0.0.1:9");
        assert_eq!(project("server.listen = '[::]:9'").unwrap().url, "http://[::1]:9");
        let tls =
            project("[server]\nlisten = 'h:9'\ntls = { cert = 'c', key = 'k' }\ntoken = { env = 'SET' }").unwrap();
        assert_eq!((tls.url.as_str(), tls.token.as_deref()), ("https://h:9", Some("s3cret")));
        assert_eq!(project("server.tls = 'proxy'").unwrap().url, "http://127.0.0.1:8484");
    }

    #[test]
    fn a_broken_rule_does_not_keep_a_client_from_asking() {
        assert!(project("[[rule]]\nnonsense = 1").is_ok());
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let why = project("server.token = { env = 'UNSET' }").unwrap_err();
        assert_eq!(why, "`[server] token` stands in the variable UNSET, which is not set");
        let fallback = project("server.token = { env = 'UNSET', default = 'd' }").unwrap();
        assert_eq!(fallback.token.as_deref(), Some("d"));
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_address() {
        let base = Url::parse("http://h:1/prefix/").unwrap();
        let url = address(&base, &["api", "v1", "rules", "../../x?y#z"], &[("since", "a&b=c".to_owned())]);
        assert_eq!(url.as_str(), "http://h:1/prefix/api/v1/rules/..%2F..%2Fx%3Fy%23z?since=a%26b%3Dc");
    }

    #[test]
    fn an_address_with_a_password_is_refused() {
        assert!(read_url("http://u:p@h:1").is_err());
        assert!(read_url("ftp://h").is_err());
        assert!(read_url("127.0.0.1:8484").is_err());
        assert!(read_url("http://127.0.0.1:8484").is_ok());
    }

    #[test]
    fn a_problem_ends_with_the_command_that_goes_on() {
        let problem =
            serde_json::json!({ "code": "body_too_large", "detail": "the body is too large", "fix": "send less" });
        assert_eq!(
            problem_text(&problem, "body_too_large"),
            "the body is too large [body_too_large]\n  fix: send less\n  more: eventyard errors body_too_large"
        );
    }
}
