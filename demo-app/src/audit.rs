//! The audit log: who did what, from where, and whether it was granted.
//!
//! Each event is one line of the log, with the target [`TARGET`], and one count of [`METRIC`]. It
//! holds no secret: no token, password, code, key or query string.
//!
//! An [`Audit`] begins before the work and ends with its outcome. One that is dropped on the way,
//! because the client disconnected or the time was up, writes its event as abandoned.
//!
//! ```
//! use std::net::IpAddr;
//!
//! use demo_app::audit::{Audit, Event};
//!
//! fn sign_in(address: IpAddr, username: &str, is_right: bool) {
//!     let audit = Audit::begin(Event::SignIn).address(address).claimed(username);
//!     if is_right { audit.granted() } else { audit.refused("invalid_credentials") }
//! }
//! ```

use std::{
    fmt::{self, Display, Write},
    net::IpAddr,
};

use auth_layer::{IssuedPair, IssuedToken, SessionId, Subject};

use crate::{error::ApiError, telemetry::count_sign_in, users::check_username};

/// The target of the events' lines.
pub const TARGET: &str = "audit";

/// The counter of events, by `event` and `outcome`.
pub const METRIC: &str = "audit_events_total";

/// The longest text of a value that a client or an operator chose, in characters.
const MAX_TEXT_LENGTH: usize = 128;

/// What a claimed username is logged as that no user can have. It may be a secret in the wrong
/// field.
const NOT_A_USERNAME: &str = "(not a username)";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// A user, or a client for itself, signs in. The method says by what.
    SignIn,
    /// A user signs in on the page of `/oauth/authorize`. Granted, the client has a code.
    Authorization,
    /// An authorization code is presented again, and the session of its first use ends.
    CodeReuse,
    /// A refresh token is presented. Only refusals are events.
    Refresh,
    /// A retired refresh token is presented, and its session ends.
    RefreshReuse,
    /// A user ends the own session.
    Logout,
    /// A user ends all sessions.
    LogoutAll,
    /// A user ends one session from the list.
    SessionEnded,
    /// A client or an operator revokes a token.
    Revocation,
    /// A user changes the password.
    PasswordChange,
    /// A user registers.
    Registration,
    /// An operator registers a client.
    ClientCreated,
    /// An operator deletes a client.
    ClientDeleted,
    /// The keys of this node change, or an operator changes the keys directory.
    KeyChange,
    /// An operator creates a user.
    UserCreated,
    /// An operator disables a user.
    UserDisabled,
    /// An operator enables a user.
    UserEnabled,
    /// An operator changes a user's role.
    UserRole,
    /// An operator sets a user's password.
    UserPassword,
    /// An operator ends all sessions of a user.
    UserRevoked,
}

impl Event {
    /// Returns the name in the log and in the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Authorization => "authorization",
            Self::CodeReuse => "code_reuse",
            Self::Refresh => "refresh",
            Self::RefreshReuse => "refresh_reuse",
            Self::Logout => "logout",
            Self::LogoutAll => "logout_all",
            Self::SessionEnded => "session_ended",
            Self::Revocation => "revocation",
            Self::PasswordChange => "password_change",
            Self::Registration => "registration",
            Self::ClientCreated => "client_created",
            Self::ClientDeleted => "client_deleted",
            Self::KeyChange => "key_change",
            Self::UserCreated => "user_created",
            Self::UserDisabled => "user_disabled",
            Self::UserEnabled => "user_enabled",
            Self::UserRole => "user_role",
            Self::UserPassword => "user_password",
            Self::UserRevoked => "user_revoked",
        }
    }
}

/// By what a user or a client signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// `POST /auth/login`, tokens in the body.
    Login,
    /// `POST /auth/login?transport=cookie`.
    Cookie,
    /// An authorization code.
    Code,
    /// `grant_type=password`.
    Password,
    /// `grant_type=client_credentials`.
    ClientCredentials,
}

impl Method {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Cookie => "cookie",
            Self::Code => "code",
            Self::Password => "password",
            Self::ClientCredentials => "client_credentials",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Granted,
    Refused,
    /// The service could not do it, or could not promise it.
    Failed,
    /// The request ended first. What had begun may have been done.
    Abandoned,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What a sign-in gives.
pub(crate) trait NewSession {
    /// Returns the user and the session.
    fn owner(&self) -> (&Subject, SessionId);
}

impl NewSession for IssuedPair {
    fn owner(&self) -> (&Subject, SessionId) {
        (&self.user_id, self.session_id)
    }
}

impl NewSession for IssuedToken {
    fn owner(&self) -> (&Subject, SessionId) {
        (&self.user_id, self.session_id)
    }
}

/// An event whose outcome is not known yet. It is written once: with its outcome, or when dropped.
#[derive(Debug)]
#[must_use = "without an outcome the event is written as abandoned"]
pub struct Audit {
    event: Event,
    method: Option<Method>,
    user_id: Option<String>,
    username: Option<String>,
    session_id: Option<String>,
    client_id: Option<String>,
    address: Option<IpAddr>,
    about: Option<String>,
    is_written: bool,
}

impl Audit {
    /// Begins an event.
    pub fn begin(event: Event) -> Self {
        Self {
            event,
            method: None,
            user_id: None,
            username: None,
            session_id: None,
            client_id: None,
            address: None,
            about: None,
            is_written: false,
        }
    }

    /// Makes it another event, once more is known about what happens.
    pub(crate) fn event(mut self, event: Event) -> Self {
        self.event = event;
        self
    }

    /// Sets the address of the client, as the connection or a trusted proxy shows it.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address.to_canonical());
        self
    }

    /// Sets by what the user or client signs in.
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Sets the user.
    pub fn user(mut self, user_id: impl Display) -> Self {
        self.user_id = Some(plain(user_id));
        self
    }

    /// Sets the name that a request claims. Text that no user can have as a name is left out.
    pub fn claimed(mut self, username: &str) -> Self {
        let username = if check_username(username).is_ok() { username } else { NOT_A_USERNAME };
        self.username = Some(username.to_owned());
        self
    }

    /// Sets the session.
    pub fn session(mut self, session_id: impl Display) -> Self {
        self.session_id = Some(plain(session_id));
        self
    }

    /// Sets the OAuth client.
    pub fn client(mut self, client_id: impl Display) -> Self {
        self.client_id = Some(plain(client_id));
        self
    }

    /// Sets what the event is about, such as the session that a user ends or the ids of keys.
    pub fn about(mut self, about: impl Display) -> Self {
        self.about = Some(plain(about));
        self
    }

    /// Writes that it was done.
    pub fn granted(self) {
        self.end(Outcome::Granted, None);
    }

    /// Writes that it was refused, and why. The reason must hold nothing that is secret.
    pub fn refused(self, reason: impl Display) {
        self.end(Outcome::Refused, Some(&plain(reason)));
    }

    /// Writes that the service could not do it, and why. The reason must hold nothing that is
    /// secret.
    pub fn failed(self, reason: impl Display) {
        self.end(Outcome::Failed, Some(&plain(reason)));
    }

    /// Writes the outcome of what the event is about, and returns it.
    pub(crate) fn conclude<T>(self, done: Result<T, ApiError>) -> Result<T, ApiError> {
        match &done {
            Ok(_) => self.granted(),
            Err(error) => self.conclude_error(error),
        }
        done
    }

    /// Writes the outcome of a sign-in, and returns it.
    pub(crate) fn conclude_sign_in<T: NewSession, E: AsRef<ApiError>>(self, signed_in: Result<T, E>) -> Result<T, E> {
        match &signed_in {
            Ok(issued) => {
                let (user_id, session_id) = issued.owner();
                self.user(user_id).session(session_id).granted();
            }
            Err(error) => self.conclude_error(error.as_ref()),
        }
        signed_in
    }

    /// Writes that it was refused, or failed if the fault is the service's.
    pub(crate) fn conclude_error(self, error: &ApiError) {
        let (status, code) = error.status_and_code();
        if status.is_server_error() { self.failed(code) } else { self.refused(code) }
    }

    fn end(mut self, outcome: Outcome, reason: Option<&str>) {
        self.write(outcome, reason);
    }

    fn write(&mut self, outcome: Outcome, reason: Option<&str>) {
        self.is_written = true;
        let (event, outcome) = (self.event.as_str(), outcome.as_str());
        tracing::info!(
            target: TARGET,
            event,
            outcome,
            reason,
            method = self.method.map(Method::as_str),
            user_id = self.user_id,
            username = self.username,
            session_id = self.session_id,
            client_id = self.client_id,
            address = self.address.map(tracing::field::display),
            about = self.about,
            "{event} {outcome}"
        );
        metrics::counter!(METRIC, "event" => event, "outcome" => outcome).increment(1);
        if let (Event::SignIn, Some(method)) = (self.event, self.method) {
            count_sign_in(method.as_str(), outcome);
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if !self.is_written {
            self.write(Outcome::Abandoned, None);
        }
    }
}

/// Describes the metric. Call it when the metrics recorder is installed.
pub(crate) fn describe_metrics() {
    metrics::describe_counter!(METRIC, metrics::Unit::Count, "Audit events, by event and outcome");
    // Exported from the start, so that the first one is an increase.
    for event in [Event::RefreshReuse, Event::CodeReuse].map(Event::as_str) {
        metrics::counter!(METRIC, "event" => event, "outcome" => Outcome::Refused.as_str()).increment(0);
    }
}

/// Returns a text of at most [`MAX_TEXT_LENGTH`] characters that cannot be read as something else:
/// all but printable ASCII is escaped.
fn plain(text: impl Display) -> String {
    let mut plain = PlainText::default();
    // An error here only means that the text was cut.
    let _ = write!(plain, "{text}");
    plain.text
}

#[derive(Default)]
struct PlainText {
    text: String,
    length: usize,
}

impl Write for PlainText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.length == MAX_TEXT_LENGTH {
                self.text.push('…');
                return Err(fmt::Error);
            }
            self.length += 1;
            if character == ' ' || character.is_ascii_graphic() {
                self.text.push(character);
            } else {
                self.text.extend(character.escape_unicode());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::tests::capture_log;

    #[test]
    fn audit_event_has_its_outcome_once() {
        let lines = capture_log(|| {
            let begin =
                || Audit::begin(Event::SignIn).method(Method::Login).address([192, 0, 2, 1].into()).claimed("ada");
            begin().user(7).session("s").client("web").granted();
            begin().refused("invalid_credentials");
            begin().failed("temporarily_unavailable");
            drop(begin());
            Audit::begin(Event::KeyChange).about("a, b").granted();
        });
        let rest = r#"method="login" username="ada" address=192.0.2.1"#;
        let expected = [
            concat!(
                r#"sign_in granted event="sign_in" outcome="granted" method="login" user_id="7" username="ada" "#,
                r#"session_id="s" client_id="web" address=192.0.2.1"#
            ),
            &format!(r#"sign_in refused event="sign_in" outcome="refused" reason="invalid_credentials" {rest}"#),
            &format!(r#"sign_in failed event="sign_in" outcome="failed" reason="temporarily_unavailable" {rest}"#),
            &format!(r#"sign_in abandoned event="sign_in" outcome="abandoned" {rest}"#),
            r#"key_change granted event="key_change" outcome="granted" about="a, b""#,
        ];
        assert_eq!(lines.len(), expected.len(), "{lines:#?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains(" INFO audit: "), "{line}");
            assert!(line.ends_with(expected), "{line}\n{expected}");
        }
    }

    #[test]
    fn audit_values_are_bounded_and_escaped() {
        let long = "x".repeat(10_000);
        let lines = capture_log(|| {
            for text in ["a\nb\u{1b}[31m\u{202e}é\" x=\"", &long] {
                Audit::begin(Event::Logout).client(text).user(text).about(text).refused(text);
            }
        });
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].is_ascii() && !lines[0].contains('\u{1b}'), "{}", lines[0]);
        assert!(lines[0].contains(r#"user_id="a\\u{a}b\\u{1b}[31m\\u{202e}\\u{e9}\" x=\"""#), "{}", lines[0]);
        assert_eq!(lines[1].matches('…').count(), 4, "{}", lines[1]);
        assert!(lines[1].len() < 1_000, "{}", lines[1]);
    }

    #[test]
    fn audit_of_a_claimed_name_leaves_out_what_is_no_name() {
        let lines = capture_log(|| {
            for text in ["Ada.L-2_", "two words", "hunter2!", "", &"a".repeat(65), "a.b.c=", "né"] {
                Audit::begin(Event::SignIn).claimed(text).refused("invalid_credentials");
            }
        });
        let name = |line: &String| line.split(r#"username=""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
        let names: Vec<String> = lines.iter().map(name).collect();
        assert_eq!(names[0], "Ada.L-2_");
        assert!(names[1..].iter().all(|name| name == NOT_A_USERNAME), "{names:?}");
    }

    #[test]
    fn audit_is_never_limited_as_a_repeat() {
        let lines = capture_log(|| {
            for _ in 0..1_000 {
                Audit::begin(Event::SignIn).claimed("ada").refused("invalid_credentials");
            }
        });
        assert_eq!(lines.len(), 1_000);
    }
}
