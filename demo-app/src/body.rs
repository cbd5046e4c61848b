//! JSON bodies, read so that each way of being wrong has its own answer.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use serde_json::{Map, Value};

use crate::{
    deadline::Deadline,
    error::ApiError,
    json::{self, JsonError},
};

/// The members of a JSON object, and which of those taken so far break a rule.
#[derive(Debug)]
pub(crate) struct Fields {
    members: Map<String, Value>,
    broken: BTreeMap<&'static str, &'static str>,
}

impl Fields {
    /// A text that must be there; empty and noted as broken where it is not.
    pub(crate) fn text(&mut self, name: &'static str) -> String {
        self.optional_text(name).unwrap_or_else(|| {
            self.broken.entry(name).or_insert("is required");
            String::new()
        })
    }

    /// A text that may be left out.
    pub(crate) fn optional_text(&mut self, name: &'static str) -> Option<String> {
        match self.members.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.broken.insert(name, "must be a string");
                None
            }
        }
    }

    /// A text that must be there and keep a rule.
    pub(crate) fn checked_text(&mut self, name: &'static str, rule: fn(&str) -> Result<(), &'static str>) -> String {
        let text = self.text(name);
        if !self.broken.contains_key(name)
            && let Err(why) = rule(&text)
        {
            self.broken.insert(name, why);
        }
        text
    }

    /// An error where any field broke a rule.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        if self.broken.is_empty() { Ok(()) } else { Err(ApiError::Fields(self.broken)) }
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::UnsupportedMediaType);
        }
        let deadline = request.extensions().get::<Deadline>().cloned().unwrap_or_else(Deadline::start);
        let bytes = deadline.body(Bytes::from_request(request, state)).await.map_err(|_| ApiError::SlowBody)?;
        let bytes = bytes.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge,
            _ => ApiError::MalformedBody("The body could not be read"),
        })?;
        match json::from_slice(&bytes) {
            Ok(Value::Object(members)) => Ok(Self { members, broken: BTreeMap::new() }),
            Ok(_) => Err(ApiError::MalformedBody("The body must be a JSON object")),
            Err(JsonError::Malformed) => Err(ApiError::MalformedBody("The body is not JSON")),
            Err(JsonError::DuplicateMember) => Err(ApiError::MalformedBody("The body names a member twice")),
        }
    }
}

/// Whether there is one content type, and it is JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else { return false };
    let essence = one.to_str().ok().and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}
