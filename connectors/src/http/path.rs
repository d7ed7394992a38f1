//! The path that an http source is mounted on.

use percent_encoding::percent_decode_str;

/// The longest path of a source, and of a request to one, in bytes: a path becomes the event's `subject`, and
/// attributes are copied into headers, logs and indexes.
pub const PATH_BYTES_MAX: usize = 2048;

/// The longest name of a parameter: with the `param` before it, it stays within the 20 characters that
/// CloudEvents recommends for the name of an extension.
const PARAMETER_BYTES_MAX: usize = 15;

/// Paths that the broker's own server answers; a source there would never be asked.
const RESERVED: &[&str] = &["/ui", "/api", "/events", "/healthz", "/readyz", "/metrics", "/2015-03-31"];

/// A path that may hold `{parameters}`, each standing for one whole segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

impl PathTemplate {
    /// Reads a path as it stands in the project.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<PathTemplate, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("the path `{text}` does not begin with `/`; write `/{text}`"));
        };
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("the path is longer than {PATH_BYTES_MAX} bytes"));
        }
        let below = |reserved: &&str| text.strip_prefix(*reserved).is_some_and(|t| t.is_empty() || t.starts_with('/'));
        if rest.is_empty() {
            return Err("the path `/` is the broker's own".to_owned());
        }
        if let Some(reserved) = RESERVED.iter().find(|reserved| below(reserved)) {
            return Err(format!("the path `{text}` is the broker's own: `{reserved}` and what lies below is taken"));
        }
        let mut segments = Vec::new();
        for part in rest.split('/') {
            let segment = segment(text, part)?;
            if let Segment::Parameter(name) = &segment
                && segments.contains(&segment)
            {
                return Err(format!("the parameter `{{{name}}}` stands twice in the path `{text}`"));
            }
            segments.push(segment);
        }
        Ok(PathTemplate { text: text.to_owned(), segments })
    }

    /// The path as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A path that fits, each parameter being `value`.
    #[must_use]
    pub fn with_parameters(&self, value: &str) -> String {
        let part = |segment: &Segment| match segment {
            Segment::Literal(literal) => format!("/{literal}"),
            Segment::Parameter(_) => format!("/{value}"),
        };
        self.segments.iter().map(part).collect()
    }

    /// The parameters' values where the path of a request fits, percent-decoded; `None` where it does not.
    /// A parameter is never empty, and a segment that does not decode to printable UTF-8 fits nothing.
    #[must_use]
    pub fn parameters(&self, path: &str) -> Option<Vec<(&str, String)>> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let mut found = Vec::new();
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Literal(literal) if literal == part => {}
                Segment::Literal(_) => return None,
                Segment::Parameter(name) => found.push((name.as_str(), decoded(part)?)),
            }
        }
        if parts.next().is_some() { None } else { Some(found) }
    }

    /// Whether some path fits both.
    #[must_use]
    pub fn overlaps(&self, other: &PathTemplate) -> bool {
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Segment::Literal(a), Segment::Literal(b)) => a == b,
                _ => true,
            })
    }
}

fn segment(path: &str, part: &str) -> Result<Segment, String> {
    if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        let good = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.len() <= PARAMETER_BYTES_MAX;
        return if good {
            Ok(Segment::Parameter(name.to_owned()))
        } else {
            Err(format!(
                "`{{{name}}}` is no parameter: a-z, then a-z and 0-9, at most {PARAMETER_BYTES_MAX} characters \
                 (it becomes the event's attribute `param{name}`)"
            ))
        };
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%".contains(c);
    if part.is_empty() || part == "." || part == ".." {
        return Err(format!("the path `{path}` has an empty segment, `.` or `..`"));
    }
    match part.chars().find(|&c| !plain(c)) {
        Some('{' | '}') => Err(format!("in `{part}`, a {{parameter}} must be a whole segment of the path")),
        Some(c) => Err(format!("`{c}` may not stand in a path; write it percent-encoded")),
        None => Ok(Segment::Literal(part.to_owned())),
    }
}

fn decoded(part: &str) -> Option<String> {
    let mut escapes = part.split('%').skip(1);
    let is_hex = |escape: &str| escape.get(..2).is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !escapes.all(is_hex) {
        return None;
    }
    let text = percent_decode_str(part).decode_utf8().ok()?;
    if text.is_empty() || text.chars().any(char::is_control) { None } else { Some(text.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_stand_for_one_segment() {
        let path = PathTemplate::parse("/hooks/{team}/github/{repo}").unwrap();
        assert_eq!(
            path.parameters("/hooks/a%20b/github/x"),
            Some(vec![("team", "a b".to_owned()), ("repo", "x".to_owned())])
        );
        for other in
            ["/hooks/a/github", "/hooks/a/github/x/", "/hooks//github/x", "/hooks/a/GitHub/x", "hooks/a/github/x"]
        {
            assert_eq!(path.parameters(other), None, "{other}");
        }
    }

    #[test]
    fn what_does_not_decode_fits_nothing() {
        let path = PathTemplate::parse("/h/{x}").unwrap();
        for bad in ["/h/%00", "/h/%ff", "/h/%0d%0a", "/h/%zz", "/h/%", "/h/a%2", "/h/%é1"] {
            assert_eq!(path.parameters(bad), None, "{bad}");
        }
        assert_eq!(path.parameters("/h/..%2f..%2fetc"), Some(vec![("x", "../../etc".to_owned())]));
    }

    #[test]
    fn the_brokers_own_paths_are_refused() {
        for taken in ["/", "/events", "/events/x", "/ui/", "/api/v1/x", "/healthz", "/metrics", "/2015-03-31/functions"]
        {
            assert!(PathTemplate::parse(taken).is_err(), "{taken}");
        }
        assert!(PathTemplate::parse("/eventsink").is_ok());
    }

    #[test]
    fn broken_paths_are_refused() {
        for bad in [
            "",
            "x",
            "/a//b",
            "/a/",
            "/a/../b",
            "/a b",
            "/a?x",
            "/{A}",
            "/x{a}",
            "/{a}/{a}",
            "/{}",
            "/{averylongnameitis}",
        ] {
            assert!(PathTemplate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_paths_that_one_request_could_fit_overlap() {
        let parse = |text| PathTemplate::parse(text).unwrap();
        assert!(parse("/a/{x}").overlaps(&parse("/{y}/b")));
        assert!(!parse("/a/{x}").overlaps(&parse("/b/{x}")));
        assert!(!parse("/a/{x}").overlaps(&parse("/a")));
    }
}
