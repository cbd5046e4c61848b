//! Reads bodies, with a distinct error for each way to be wrong.
//!
//! axum's `Json` has no deadline, accepts the first of several content types, and stops at the
//! first wrong field.
//!
//! `garde` checks the fields. The errors of `validator` hold the refused value, which may be a
//! password.

mod members;

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use garde::Validate;
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE, request::Parts};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    deadline::Deadline,
    error::ApiError,
    json::{self, JsonError},
};

/// A request body that has all its fields and passed their rules.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

/// The bytes of a request body, which the handler reads. For forms, whose rules the library has.
pub(crate) struct RawBody(pub(crate) Bytes);

/// The head and the body of a request whose rules the library has, without the extensions.
///
/// The extractors of axum copy headers and extensions. This one takes the headers.
pub(crate) struct WholeRequest {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for WholeRequest {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, ApiError> {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = request.method().clone();
        head.uri = request.uri().clone();
        head.headers = std::mem::take(request.headers_mut());
        let RawBody(body) = RawBody::from_request(request, state).await?;
        Ok(Self { head, body })
    }
}

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let deadline = request.extensions().get::<Deadline>().cloned().unwrap_or_else(Deadline::start);
        let bytes = deadline.read_body(Bytes::from_request(request, state)).await.map_err(|_| ApiError::BodyTimeout)?;
        bytes.map(Self).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge,
            _ => ApiError::MalformedBody("The body could not be read"),
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Validate<Context = ()>> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !has_type(request.headers(), "application/json") {
            return Err(ApiError::UnsupportedMediaType);
        }
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        match json::from_slice(&bytes) {
            Ok(Value::Object(members)) => read_and_validate(members).map(Self),
            Ok(_) => Err(ApiError::MalformedBody("The body must be a JSON object")),
            Err(JsonError::Malformed) => Err(ApiError::MalformedBody("The body is not JSON")),
            Err(JsonError::DuplicateMember) => Err(ApiError::MalformedBody("The body repeats a member")),
        }
    }
}

/// Reads a request and checks its fields. The error lists every wrong field.
fn read_and_validate<T: DeserializeOwned + Validate<Context = ()>>(members: Map<String, Value>) -> Result<T, ApiError> {
    let (request, errors) = members::read::<T>(members).map_err(|_| {
        // The cause is not logged: it may hold a value.
        tracing::error!(
            request = std::any::type_name::<T>(),
            "the request type has a field that is not a string (a bug); answered 500"
        );
        ApiError::Internal
    })?;
    let mut fields = BTreeMap::new();
    if let Err(report) = request.validate() {
        fields.extend(report.iter().map(|(field, error)| (field.to_string(), error.to_string())));
    }
    // Inserted last: a field that could not be read has only that error.
    fields.extend(errors.into_iter().map(|(field, error)| (field.to_owned(), error.to_owned())));
    if fields.is_empty() { Ok(request) } else { Err(ApiError::InvalidFields(fields)) }
}

/// Turns a rule into the form that `#[garde(custom(…))]` takes.
pub(crate) fn rule<T: ?Sized>(rule: fn(&T) -> Result<(), &'static str>) -> impl FnOnce(&T, &()) -> garde::Result {
    move |value, ()| rule(value).map_err(garde::Error::new)
}

/// Returns whether the request has exactly one content type and it is this one. The `mime` crate
/// refuses the space in `application/json ; charset=utf-8`.
pub(crate) fn has_type(headers: &HeaderMap, content_type: &str) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else { return false };
    let essence = one.to_str().ok().and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(content_type))
}
