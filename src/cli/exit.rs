//! How a command ends: the exit codes, and the errors that carry them.

use std::io;
use std::process::ExitCode;

/// What a command gives back.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// What a broker refused, with the code that it gave.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refused {
    pub(crate) code: String,
    pub(crate) text: String,
}

/// Why a command did not do what it was asked for.
///
/// The exit codes are part of what people script against: 0 done, 1 the thing failed, 2 usage or
/// configuration is wrong.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The thing failed: a call was refused, a test did not pass, a file is damaged. Exit 1.
    Failed(anyhow::Error),
    /// Usage or configuration is wrong; trying again without a change is no use. Exit 2.
    Usage(anyhow::Error),
    /// The same two, where everything there is to say has been printed already.
    Reported(u8),
    /// A command that this version does not have. Exit 2.
    NotInThisVersion(&'static str),
}

impl Failure {
    /// A usage or configuration error from a text.
    pub(crate) fn usage(text: impl Into<String>) -> Failure {
        Failure::Usage(anyhow::Error::msg(text.into()))
    }

    /// A failure from a text.
    pub(crate) fn failed(text: impl Into<String>) -> Failure {
        Failure::Failed(anyhow::Error::msg(text.into()))
    }

    /// Whether the broker refused with this code.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        matches!(self, Failure::Failed(error) if error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == code))
    }

    /// The same as a mistake of usage or configuration.
    pub(crate) fn into_usage(self) -> Failure {
        match self {
            Failure::Failed(error) => Failure::Usage(error),
            other => other,
        }
    }

    /// Everything was said; the thing failed.
    pub(crate) fn reported() -> Failure {
        Failure::Reported(1)
    }

    /// Whether the reader of our output went away (`eventyard events list | head`), which is no failure.
    fn is_broken_pipe(&self) -> bool {
        let (Failure::Failed(error) | Failure::Usage(error)) = self else { return false };
        error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            _ if self.is_broken_pipe() => 0,
            Failure::Failed(_) => 1,
            Failure::Usage(_) | Failure::NotInThisVersion(_) => 2,
            Failure::Reported(code) => *code,
        }
    }

    /// What to print on standard error; `None` where nothing is left to say.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            _ if self.is_broken_pipe() => None,
            Failure::Failed(error) | Failure::Usage(error) => Some(format!("{error:#}")),
            Failure::NotInThisVersion(command) => Some(format!(
                "`eventyard {command}` is not in this version\n  help: the word is reserved for a later one; \
                 `eventyard help` lists what there is"
            )),
            Failure::Reported(_) => None,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Failed(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Failed(error.into())
    }
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> ExitCode {
        ExitCode::from(failure.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_are_what_people_script_against() {
        assert_eq!(Failure::failed("x").code(), 1);
        assert_eq!(Failure::usage("x").code(), 2);
        assert_eq!(Failure::NotInThisVersion("top").code(), 2);
        assert_eq!(Failure::reported().code(), 1);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(gone.code(), 0);
        assert_eq!(gone.text(), None);
    }
}
