//! Writes tokens.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::typ;
use crate::{
    claims::Scope,
    clock::Timestamp,
    id::{SessionId, Subject, TokenId},
    json::join_objects,
    keys::{SigningKey, VerifyingKey},
    kind::TokenKind,
};

/// The content of a token to issue. The same content always gives the same text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) issuer: &'a str,
    pub(crate) audiences: &'a [String],
    pub(crate) subject: &'a Subject,
    pub(crate) session: SessionId,
    pub(crate) client_id: &'a str,
    pub(crate) id: TokenId,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) scope: &'a Scope,
    /// All other claims: the text of a JSON object.
    pub(crate) other_claims: &'a str,
}

#[derive(Serialize)]
struct JwtHeader<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

#[derive(Serialize)]
struct JwtPayload<'a> {
    iss: &'a str,
    sub: &'a Subject,
    aud: Audience<'a>,
    exp: i64,
    iat: i64,
    jti: TokenId,
    client_id: &'a str,
    sid: SessionId,
    #[serde(skip_serializing_if = "Scope::is_empty")]
    scope: &'a Scope,
}

/// One audience may be written as a string (RFC 7519 §4.1.3).
#[derive(Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(&'a str),
    Many(&'a [String]),
}

impl<'a> From<&'a [String]> for Audience<'a> {
    fn from(audiences: &'a [String]) -> Self {
        match audiences {
            [one] => Self::One(one),
            many => Self::Many(many),
        }
    }
}

/// Returns the header of tokens of this kind that this key signs, in base64url.
pub(super) fn encoded_header(key: &VerifyingKey, kind: TokenKind) -> &str {
    key.header(kind, || {
        URL_SAFE_NO_PAD.encode(json(&JwtHeader { alg: key.algorithm().as_str(), typ: typ(kind), kid: key.kid() }))
    })
}

/// Builds the JWS signing input (RFC 7515 §5.1) for this content and key.
pub(crate) fn signing_input(content: &Content<'_>, key: &SigningKey) -> String {
    let header = encoded_header(key.verifying(), content.kind);
    let payload = JwtPayload {
        iss: content.issuer,
        sub: content.subject,
        aud: content.audiences.into(),
        exp: content.expires_at.timestamp(),
        iat: content.issued_at.timestamp(),
        jti: content.id,
        client_id: content.client_id,
        sid: content.session,
        scope: content.scope,
    };
    let payload = join_objects(json(&payload), content.other_claims);
    // With room for a signature of 64 bytes.
    let mut input = String::with_capacity(header.len() + payload.len() * 4 / 3 + 100);
    input.push_str(header);
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut input);
    input
}

/// Builds the compact serialisation (RFC 7515 §7.1) from a signing input and its signature.
pub(crate) fn assemble(mut signing_input: String, signature: &[u8]) -> String {
    signing_input.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut signing_input);
    signing_input
}

/// The memory for a header or payload that is being written: few are longer.
const JSON_BYTES: usize = 512;

fn json(value: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(JSON_BYTES);
    serde_json::to_writer(&mut text, value).expect("strings and numbers in a struct always serialise");
    String::from_utf8(text).expect("JSON is UTF-8")
}
