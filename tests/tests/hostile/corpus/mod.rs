//! The corpus: named forgeries. Each is one step away from a good token, and has the answer it must
//! get.

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

use crate::{fixture::GoodTokens, forge::TokenDraft};

/// A token that must be refused.
pub(crate) struct Case {
    /// A name unlike that of every other case.
    pub(crate) name: String,
    pub(crate) token: String,
    /// The fault that the authority must find.
    pub(crate) fault: TokenFault,
    pub(crate) expected: Expected,
    /// A good token that differs in that one thing.
    pub(crate) control: String,
}

/// The expected answer to a request with the token behind `Bearer `.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// 401 `invalid_token`.
    InvalidToken,
    /// 400 `invalid_request`: the token has characters that no bearer token has (RFC 6750 §2.1).
    InvalidRequest,
    /// No answer: no header field can hold the token (RFC 9110 §5.5), so only the authority is
    /// asked.
    Unsendable,
}

/// The cases of one kind of token.
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
    /// Makes all cases for tokens of this kind.
    pub(crate) fn of(good: &GoodTokens) -> Self {
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

    /// Begins a group of cases that differ in one thing from this token.
    fn group(&mut self, name: &'static str, good: &TokenDraft) -> Group<'_> {
        Group { corpus: self, name, control: good.token() }
    }
}

impl Group<'_> {
    /// Adds a token that can be read and is refused.
    fn refused(&mut self, what: impl AsRef<str>, token: impl Into<String>, fault: TokenFault) {
        self.push(what.as_ref(), token.into(), fault, Expected::InvalidToken);
    }

    /// Adds a token with characters that make it malformed.
    fn unreadable(&mut self, what: impl AsRef<str>, token: impl Into<String>) {
        self.push(what.as_ref(), token.into(), TokenFault::Malformed, Expected::InvalidRequest);
    }

    /// Adds a token with characters that make it malformed and cannot be sent.
    fn unsendable(&mut self, what: impl AsRef<str>, token: impl Into<String>) {
        self.push(what.as_ref(), token.into(), TokenFault::Malformed, Expected::Unsendable);
    }

    /// Adds a case.
    fn push(&mut self, what: &str, token: String, fault: TokenFault, expected: Expected) {
        let name = format!("{}: {what}", self.name);
        self.corpus.cases.push(Case { name, token, fault, expected, control: self.control.clone() });
    }
}

/// Returns the fault of a validly signed token whose record differs from its claims.
fn mismatch_fault(kind: TokenKind) -> TokenFault {
    match kind {
        TokenKind::Access | TokenKind::Refresh => TokenFault::Mismatch,
        TokenKind::SingleUse => TokenFault::Used,
        other => panic!("{other} is new"),
    }
}

/// Returns the fault of a validly signed token whose id has no record.
fn missing_record_fault(kind: TokenKind) -> TokenFault {
    match kind {
        TokenKind::Access | TokenKind::Refresh => TokenFault::Unknown,
        TokenKind::SingleUse => TokenFault::Used,
        other => panic!("{other} is new"),
    }
}
