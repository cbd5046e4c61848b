//! The corpus: named forgeries, each one step away from a token that is good, each with the answer it must get.

mod alg;
mod base64url;
mod claims;
mod confusion;
mod elliptic;
mod identifiers;
mod injection;
mod json;
mod key_id;
mod shape;
mod signature;
mod times;
mod typ;

use auth_layer::{TokenFault, store::TokenKind};

pub(crate) use elliptic::es256_twin;

use crate::{bench::Good, forge::Draft};

/// A token that must be refused.
pub(crate) struct Case {
    /// What it is, unlike every other.
    pub(crate) name: String,
    pub(crate) token: String,
    /// What the authority must find wrong with it.
    pub(crate) fault: TokenFault,
    pub(crate) answer: Answer,
    /// A token that differs in that one thing and is good.
    pub(crate) control: String,
}

/// How a request with the token behind `Bearer ` must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 401 `invalid_token`.
    InvalidToken,
    /// 400 `invalid_request`: it has characters that no bearer token has (RFC 6750 §2.1).
    InvalidRequest,
    /// None: no header field can hold it (RFC 9110 §5.5), so only the authority itself can be asked.
    Unsendable,
}

/// Cases of one kind of token.
pub(crate) struct Corpus {
    pub(crate) cases: Vec<Case>,
}

/// Cases that attack one thing.
struct Group<'a> {
    corpus: &'a mut Corpus,
    name: &'static str,
    control: String,
}

impl Corpus {
    /// All cases for tokens of this kind.
    pub(crate) fn of(good: &Good) -> Self {
        let mut corpus = Self { cases: Vec::new() };
        alg::add(&mut corpus, good);
        confusion::add(&mut corpus, good);
        shape::add(&mut corpus, good);
        key_id::add(&mut corpus, good);
        injection::add(&mut corpus, good);
        typ::add(&mut corpus, good);
        claims::add(&mut corpus, good);
        times::add(&mut corpus, good);
        identifiers::add(&mut corpus, good);
        json::add(&mut corpus, good);
        base64url::add(&mut corpus, good);
        signature::add(&mut corpus, good);
        elliptic::add(&mut corpus, good);
        corpus
    }

    fn group(&mut self, name: &'static str, good: &Draft) -> Group<'_> {
        Group { corpus: self, name, control: good.token() }
    }
}

impl Group<'_> {
    /// A token that can be read as one and is refused.
    fn refused(&mut self, what: impl AsRef<str>, token: impl Into<String>, fault: TokenFault) {
        self.push(what.as_ref(), token.into(), fault, Answer::InvalidToken);
    }

    /// A token that is malformed in characters.
    fn unreadable(&mut self, what: impl AsRef<str>, token: impl Into<String>) {
        self.push(what.as_ref(), token.into(), TokenFault::Malformed, Answer::InvalidRequest);
    }

    /// A token that is malformed in characters that cannot even be sent.
    fn unsendable(&mut self, what: impl AsRef<str>, token: impl Into<String>) {
        self.push(what.as_ref(), token.into(), TokenFault::Malformed, Answer::Unsendable);
    }

    fn push(&mut self, what: &str, token: String, fault: TokenFault, answer: Answer) {
        let name = format!("{}: {what}", self.name);
        self.corpus.cases.push(Case { name, token, fault, answer, control: self.control.clone() });
    }
}

/// The fault of a rightly signed token whose id is recorded, but not for what the token says.
fn not_as_recorded(kind: TokenKind) -> TokenFault {
    match kind {
        TokenKind::Access | TokenKind::Refresh => TokenFault::Mismatch,
        TokenKind::SingleUse => TokenFault::Used,
        other => panic!("{other} is new"),
    }
}

/// The fault of a rightly signed token whose id nothing is recorded under.
fn not_recorded(kind: TokenKind) -> TokenFault {
    match kind {
        TokenKind::Access | TokenKind::Refresh => TokenFault::Unknown,
        TokenKind::SingleUse => TokenFault::Used,
        other => panic!("{other} is new"),
    }
}
