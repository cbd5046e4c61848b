//! Logs the problems of something that is read again and again.

use std::error::Error;

use super::error_text;

/// Logs a problem once, and once more when it is over.
#[derive(Debug)]
pub(crate) struct ProblemLog {
    last: Option<String>,
    problem: &'static str,
    resolved: &'static str,
}

/// What a [`ProblemLog`] logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logged {
    Nothing,
    Problem,
    Resolved,
}

impl ProblemLog {
    /// Creates a log with these messages for a problem and for its end.
    pub(crate) fn new(problem: &'static str, resolved: &'static str) -> Self {
        Self { last: None, problem, resolved }
    }

    /// Logs what a read found, unless it is what the read before found.
    pub(crate) fn report(&mut self, problem: Option<&(dyn Error + 'static)>) -> Logged {
        match problem {
            Some(error) => {
                let text = error_text(error);
                if self.last.as_ref() == Some(&text) {
                    return Logged::Nothing;
                }
                tracing::error!(error, "{}", self.problem);
                self.last = Some(text);
                Logged::Problem
            }
            None if self.last.take().is_some() => {
                tracing::info!("{}", self.resolved);
                Logged::Resolved
            }
            None => Logged::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Error as Other;

    use super::*;

    #[test]
    fn log_of_a_problem_comes_once_and_when_resolved() {
        let missing = std::io::Error::other("missing");
        let mut problems = ProblemLog::new("it has a problem", "it is well again");
        assert_eq!(problems.report(None), Logged::Nothing);
        assert_eq!(problems.report(Some(&missing)), Logged::Problem);
        assert_eq!(problems.report(Some(&missing)), Logged::Nothing);
        assert_eq!(problems.report(Some(&Other)), Logged::Problem);
        assert_eq!(problems.report(None), Logged::Resolved);
        assert_eq!(problems.report(None), Logged::Nothing);
    }
}
