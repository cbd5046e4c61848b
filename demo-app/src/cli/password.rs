//! Reads a new password: from the terminal without echo, or from standard input.

use std::io::{self, IsTerminal, Read};

use secrecy::ExposeSecret;

use super::CommandError;
use crate::password::{Password, check_password};

/// More than the longest password, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Reads a new password and checks its rules.
pub(super) fn read_new() -> Result<Password, CommandError> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        let ask = |prompt| {
            let read = rpassword::prompt_password(prompt);
            read.map(Password::from).map_err(|source| CommandError::Password { from: "the terminal", source })
        };
        let password = ask("New password: ")?;
        check(&password)?;
        let repeated = ask("The same again: ")?;
        if password.normalized().expose_secret() != repeated.normalized().expose_secret() {
            return Err(CommandError::PasswordsDiffer);
        }
        password
    } else {
        read_line(stdin.lock())?
    };
    check(&password)?;
    Ok(password)
}

fn check(password: &Password) -> Result<(), CommandError> {
    check_password(password).map_err(|rule| CommandError::Invalid { field: "the password", rule })
}

/// Reads one line, whose end is no part of the password.
fn read_line(input: impl Read) -> Result<Password, CommandError> {
    let mut text = String::new();
    let read = input.take(LONGEST).read_to_string(&mut text);
    read.map_err(|source| CommandError::Password { from: "standard input", source })?;
    let end = text.strip_suffix('\n').map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(end);
    if text.contains('\n') {
        return Err(CommandError::Invalid { field: "the password", rule: "must be one line of standard input" });
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cli_password_is_one_line_of_standard_input() {
        for (input, expected) in [
            ("correct horse", Some("correct horse")),
            ("correct horse\n", Some("correct horse")),
            ("correct horse\r\n", Some("correct horse")),
            (" correct horse \n", Some(" correct horse ")),
            ("", Some("")),
            ("correct\nhorse\n", None),
            ("correct horse\n\n", None),
        ] {
            let read = read_line(input.as_bytes()).ok();
            let read = read.as_ref().map(|password| password.normalized().expose_secret());
            assert_eq!(read, expected, "{input:?}");
        }
        assert!(matches!(read_line(&b"\xff\xfe"[..]), Err(CommandError::Password { .. })));
    }
}
